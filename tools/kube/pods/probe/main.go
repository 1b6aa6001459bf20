// Command probe is a pod that tells what it sees: an HTTP server on 8080 whose answers are the facts that tests ask for.
//
//	/            its host name
//	/fetch?url=  what another server answers, or 502 with the error: is this edge open?
//	/resolve?name=  the addresses of a name
//	/write?path=&text=  and /read?path=  files, for volumes
//	/prestop     says so in the log, and takes a second: for the order of endings
//
// With SIGTERM it says so in the log and ends.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const patience = 2 * time.Second

func main() {
	for path, answer := range map[string]func(*http.Request) (string, error){
		"/": hostName, "/fetch": fetch, "/resolve": resolve, "/write": write, "/read": read, "/prestop": preStop,
	} {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			text, err := answer(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			_, _ = io.WriteString(w, text)
		})
	}
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", nil))
		os.Exit(1)
	}()
	fmt.Println("serving")
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ended.Done()
	fmt.Println("TERM")
}

func hostName(*http.Request) (string, error) { return os.Hostname() }

func fetch(r *http.Request) (string, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(r.URL.Query().Get("url"))
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func resolve(r *http.Request) (string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, r.URL.Query().Get("name"))
	return strings.Join(addresses, " "), err
}

func write(r *http.Request) (string, error) {
	return "", os.WriteFile(r.URL.Query().Get("path"), []byte(r.URL.Query().Get("text")), 0o600)
}

func read(r *http.Request) (string, error) {
	text, err := os.ReadFile(r.URL.Query().Get("path"))
	return string(text), err
}

func preStop(*http.Request) (string, error) {
	fmt.Println("preStop begins")
	time.Sleep(time.Second)
	fmt.Println("preStop ends")
	return "", nil
}

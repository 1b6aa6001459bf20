/** The one bar on top: where one is, the window, the clock, the connection, the theme. */

import { useRef } from "preact/hooks";
import { beat } from "./frames";
import type { Pill } from "./pill";
import { theme, toggleTheme } from "./theme";
import { localZone, timeLabel } from "./ticks";
import { formatSpan } from "./units";

interface HeaderProps {
  readonly title: string;
  readonly live?: { readonly window: number | null; readonly pill: () => Pill };
}

export function Header({ title, live }: HeaderProps) {
  return (
    <header class="top">
      <a class="brand" href="/" aria-label="Tideboard, all dashboards">
        <Mark />
        <span>Tideboard</span>
      </a>
      <h1>{title}</h1>
      <div class="space" />
      {live !== undefined && (
        <>
          <Clock window={live.window} />
          <Connection pill={live.pill} />
        </>
      )}
      <button type="button" class="icon" onClick={toggleTheme} title="Dark or light (t)" aria-label={`Switch to the ${theme.value === "dark" ? "light" : "dark"} theme`}>
        <ThemeIcon dark={theme.value === "dark"} />
      </button>
    </header>
  );
}

function Clock({ window }: { readonly window: number | null }) {
  const { now } = beat.value;
  return (
    <span class="clock">
      {window !== null && <span class="window">last {formatSpan(window)}</span>}
      {now !== null && <time>{timeLabel(now, 1000, localZone(now))}</time>}
    </span>
  );
}

/** The words of the moment, and for listeners only what kind of moment it is: numbers are not news. */
function Connection({ pill }: { readonly pill: () => Pill }) {
  const { kind, tone, text, detail } = pill();
  const said = useRef({ kind, detail });
  if (said.current.kind !== kind) said.current = { kind, detail };
  return (
    <>
      <span class={`pill ${tone}`} data-connection={kind} title={detail}>
        <span class="dot" aria-hidden="true" />
        {text}
      </span>
      <span class="unseen" role="status" aria-live="polite">
        {kind === "live" ? "Connected, live" : `${kind}: ${said.current.detail}`}
      </span>
    </>
  );
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M2 9c3.3 0 3.3-4 6.6-4s3.4 4 6.7 4S18.7 5 22 5" />
      <path d="M2 14c3.3 0 3.3-4 6.6-4s3.4 4 6.7 4 3.4-4 6.7-4" />
      <path d="M2 19c3.3 0 3.3-4 6.6-4s3.4 4 6.7 4 3.4-4 6.7-4" />
    </svg>
  );
}

function ThemeIcon({ dark }: { readonly dark: boolean }) {
  return (
    <svg viewBox="0 0 24 24" aria-hidden="true">
      {dark ? (
        <path d="M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5Z" />
      ) : (
        <path d="M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10ZM12 2v2M12 20v2M2 12h2M20 12h2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4" />
      )}
    </svg>
  );
}

import { defineConfig } from "vitest/config";

// Two pages, because only the one with Plotly.js needs inline styles; the server's policy differs by path.
export default defineConfig({
  base: "/",
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1300, // Plotly.js, loaded by its own page only
    rolldownOptions: { input: ["index.html", "plotly.html"] },
  },
  server: {
    proxy: { "/api": { target: "http://127.0.0.1:8080", ws: true } },
    fs: { allow: [".", "../tests/golden"] },
  },
  test: {
    environment: "happy-dom",
    include: ["test/**/*.test.{ts,tsx}"],
  },
});

/** A page that says what is the matter, instead of a blank one. */

import type { ComponentChildren } from "preact";

interface NoticeProps {
  readonly title: string;
  readonly tone?: "warn" | "crit" | "idle";
  readonly busy?: boolean;
  readonly children?: ComponentChildren;
}

export function Notice({ title, tone = "idle", busy = false, children }: NoticeProps) {
  return (
    <div class={`notice ${tone}`} role="status">
      {busy && <span class="spinner" aria-hidden="true" />}
      <h1>{title}</h1>
      {children}
    </div>
  );
}

/** Where in which file something is wrong, as one can type it into an editor. */
export function Place({ source, line, path }: { readonly source: string; readonly line: number; readonly path: string }) {
  const place = source === "" ? "" : `${source}${line > 0 ? `:${line}` : ""}`;
  return (
    <dl class="place">
      {place !== "" && (
        <>
          <dt>file</dt>
          <dd>
            <code>{place}</code>
          </dd>
        </>
      )}
      {line > 0 && source === "" && (
        <>
          <dt>line</dt>
          <dd>
            <code>{line}</code>
          </dd>
        </>
      )}
      {path !== "" && (
        <>
          <dt>path</dt>
          <dd>
            <code>{path}</code>
          </dd>
        </>
      )}
    </dl>
  );
}

/** The warning in a panel's head: a few words, and whole sentences for who points at it, taps it or listens. */

import type { Note } from "../notes";

export function Badge({ note }: { readonly note: Note | null }) {
  if (note === null) return null;
  return (
    <button type="button" class="note" aria-label={note.detail}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <path d="M8 1.5 15 14.5H1ZM7.2 6v4h1.6V6Zm0 5.2v1.6h1.6v-1.6Z" fill-rule="evenodd" />
      </svg>
      <span class="words">{note.text}</span>
      <span class="detail" role="tooltip">
        {note.detail}
      </span>
    </button>
  );
}

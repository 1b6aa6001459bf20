/** The golden frames of tests/golden, by name, as text. pytest reads the same files. */

const FILES = import.meta.glob<string>("../../tests/golden/*.json", { eager: true, query: "?raw", import: "default" });

export const GOLDEN: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(FILES).map(([path, text]) => [path.replace(/^.*\/|\.json$/g, ""), text.trim()]),
);

export function golden(name: string): string {
  const text = GOLDEN[name];
  if (text === undefined) throw new Error(`there is no golden frame ${name}`);
  return text;
}

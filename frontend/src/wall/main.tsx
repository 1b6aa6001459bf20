/** The wall: what index.html starts. */

import { render } from "preact";
import { exposeState } from "./debug";
import { followTokens, takeToken } from "./entrance";
import { startFrames } from "./frames";
import { Dashboard } from "./pages/dashboard";
import { List } from "./pages/list";
import { Notice } from "./pages/notice";
import { Header } from "./header";
import { followLinks, route } from "./route";
import { followNetwork, followVisibility } from "./session";
import { followTheme, toggleTheme } from "./theme";
import "./styles/tokens.css";
import "./styles/shell.css";
import "./styles/pages.css";
import "./styles/panel.css";
import "./styles/bodies.css";
import "./styles/phone.css";

function Wall() {
  const current = route.value;
  if (current.page === "list") return <List />;
  if (current.page === "dashboard") return <Dashboard key={current.name} name={current.name} />;
  return (
    <>
      <Header title="" />
      <main>
        <Notice title="There is no such page">
          <a href="/">All dashboards</a>
        </Notice>
      </main>
    </>
  );
}

function followKeys(): void {
  addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
    if (event.key === "t" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) toggleTheme();
  });
}

takeToken();
followTokens(() => location.reload());
followTheme();
followNetwork();
followVisibility();
followLinks();
followKeys();
exposeState();
startFrames();
const root = document.getElementById("wall");
if (root !== null) {
  root.replaceChildren();
  render(<Wall />, root);
}

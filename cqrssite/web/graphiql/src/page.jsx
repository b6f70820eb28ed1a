import "./workers.js";
import "graphiql/style.css";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { createClient } from "graphql-ws";
import { createRoot } from "react-dom/client";
import { examples } from "./examples.js";

const http = new URL("/graphql", location.href);
const socket = new URL(http);
socket.protocol = http.protocol === "https:" ? "wss:" : "ws:";

const fetcher = createGraphiQLFetcher({
  url: http.href,
  // Tried again for as long as the page is open: the gateway may restart.
  wsClient: createClient({ url: socket.href, retryAttempts: Infinity, shouldRetry: () => true }),
});

createRoot(document.getElementById("graphiql")).render(
  <GraphiQL fetcher={fetcher} defaultTabs={examples} shouldPersistHeaders={false} defaultEditorToolsVisibility={false} />,
);

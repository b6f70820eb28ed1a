// The editor's workers are scripts of our own origin, which is all that the page's content security policy allows.
const names = { json: "worker-json", graphql: "worker-graphql" };

globalThis.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker(new URL(`${names[label] ?? "worker-editor"}.js`, import.meta.url), { type: "module" }),
};

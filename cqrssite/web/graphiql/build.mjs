// Builds what the gateway serves of GraphiQL into ../../static/graphiql: the page's script and style, the workers of its
// editor and the licences of all that is in them. No source maps, no CDN, nothing at run time but these files.
import { build } from "esbuild";
import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const out = "../../static/graphiql";

// What the page has no use for, a third of the size: parts of the editor that are about programming and diffs, the
// editor's styles (GraphiQL's own sheet includes them), and the JavaScript parser that would format JSON.
const unused =
  /(anchorSelect|codeActionContributions|codelens|colorPicker|dropOrPasteInto|documentSymbols|inlayHints|inPlaceReplace|inline\w+|linkedEditing|rename|sectionHeaders|semanticTokens|stickyScroll|diffEditor\w*|dnd|suggestInlineCompletions|toggleHighContrast|unicodeHighlighter|referenceSearch|GotoSymbolQuickAccess|inspectTokens|iPadShowKeyboard)\b/;
const jsonFormat = join(import.meta.dirname, "src/json-format.js");
const prune = {
  name: "prune",
  setup({ onLoad, onResolve }) {
    const empty = { path: "empty", namespace: "empty", sideEffects: false };
    onResolve({ filter: unused }, ({ importer }) => (/editor\.all\.js$|edcore\.main\.js$/.test(importer) ? empty : undefined));
    onResolve({ filter: /\.css$/ }, ({ importer }) => (/\/monaco-editor\//.test(importer) ? empty : undefined));
    onResolve({ filter: /^prettier\/(plugins\/estree|parser-babel)$/ }, () => ({ path: jsonFormat }));
    onLoad({ filter: /.*/, namespace: "empty" }, () => ({ contents: "" }));
  },
};

await rm(out, { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: {
    graphiql: "src/page.jsx",
    "worker-editor": "monaco-editor/esm/vs/editor/editor.worker.js",
    "worker-json": "monaco-editor/esm/vs/language/json/json.worker.js",
    "worker-graphql": "monaco-graphql/esm/graphql.worker.js",
  },
  outdir: out,
  plugins: [prune],
  bundle: true,
  // The page and its workers share what they have in common: modules all of them.
  format: "esm",
  splitting: true,
  chunkNames: "chunk-[hash]",
  minify: true,
  target: "es2022",
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"' },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

const packages = new Set();
for (const input of Object.keys(metafile.inputs)) {
  const found = input.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//);
  if (found) packages.add(found[1]);
}
const licences = [];
for (const folder of [...packages].sort()) {
  const { name, version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|thirdpartynotices)/i.test(file));
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
  licences.push(`${name} ${version} (${license})\n\n${texts.join("\n").trim() || "The package carries no licence text."}\n`);
}
const rule = `\n${"-".repeat(80)}\n\n`;
await writeFile(join(out, "LICENSES.txt"), `What is bundled in this folder, and its licences.\n${rule}${licences.join(rule)}`);

// Formats the variables and headers in place of the half megabyte that parses all of JavaScript: a plugin for prettier,
// whose one node is the text as jsonc-parser lays it out, comments kept.
import { applyEdits, format } from "jsonc-parser";

const layout = { insertSpaces: true, tabSize: 2, eol: "\n" };

export const parsers = {
  jsonc: {
    astFormat: "formatted",
    parse: (text) => ({ text: applyEdits(text, format(text, undefined, layout)) }),
    locStart: () => 0,
    locEnd: ({ text }) => text.length,
  },
};

export const printers = { formatted: { print: (path) => path.node.text } };

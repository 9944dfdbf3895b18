// Reads a Mermaid file with Mermaid itself, and prints what it holds as JSON.
import { JSDOM } from "jsdom";
import { readFileSync } from "node:fs";

// Mermaid sanitises labels with a library that looks for a browser.
const { window } = new JSDOM("");
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import("mermaid");

const text = readFileSync(process.argv[2], "utf8");
// The parser first, which also makes the kinds of drawings known.
await mermaid.parse(text);
const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
const nodes = [...db.getVertices().values()].map(({ id, text, classes }) => ({ id, text, classes }));
const edges = db.getEdges().map(({ start, end, stroke }) => ({ start, end, stroke }));
const classes = [...db.getClasses().keys()];
console.log(JSON.stringify({ nodes, edges, classes }));

import{c as e,d as o}from"./chunk-STSEUAPQ.js";import"./chunk-IYWUY3VA.js";var r={insertSpaces:!0,tabSize:2,eol:`
`},a={jsonc:{astFormat:"formatted",parse:t=>({text:o(t,e(t,void 0,r))}),locStart:()=>0,locEnd:({text:t})=>t.length}},s={formatted:{print:t=>t.node.text}};export{a as parsers,s as printers};

// Makes the page of /openapi.json. Text from there is only ever set as text.
"use strict";

const METHODS = ["get", "post", "delete"];
const ON_ALL_ANSWERS = ["X-Request-Id", "Cache-Control"]; // told once, at the top
const CARRIERS = {
  sessionid_header: "sessionid: $SESSION",
  operator: "Authorization: Bearer $WXLOGIN_ADMIN_TOKEN",
};

/** Make an element: `make("p", {class: "note"}, "text", element)`. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Turn `code` between backticks into elements, and nothing else. */
function prose(text = "") {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

function paragraphs(text = "") {
  return text.split("\n\n").filter(Boolean).map((part) => make("p", {}, ...prose(part)));
}

class Description {
  constructor(document) {
    this.document = document;
    this.operations = Object.entries(document.paths).flatMap(([path, item]) =>
      METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] })));
  }

  groups() {
    const byTag = (tag) => this.operations.filter((operation) => operation.tags.includes(tag.name));
    return this.document.tags.map((tag) => ({ ...tag, operations: byTag(tag) }));
  }

  /** What a reference refers to; what stands beside the reference wins. */
  resolve(part) {
    if (!part?.$ref) return part;
    const { $ref, ...beside } = part;
    const found = $ref.slice(2).split("/").reduce((node, key) => node[key], this.document);
    return { ...this.resolve(found), ...beside };
  }

  example(schema) {
    const whole = this.resolve(schema);
    if (whole.examples) return whole.examples[0];
    if (whole.anyOf) return this.example(whole.anyOf[0]);
    if (whole.type === "array") return [this.example(whole.items)];
    if (whole.properties) {
      const pairs = Object.entries(whole.properties).map(([name, each]) => [name, this.example(each)]);
      return Object.fromEntries(pairs);
    }
    return { string: "…", integer: 0, boolean: true, object: {} }[whole.type] ?? "…";
  }
}

function table(caption, rows) {
  if (!rows.length) return "";
  const head = ["Name", "Type", "What it is"].map((title) => make("th", { scope: "col", role: "columnheader" }, title));
  return make("table", { role: "table", "aria-label": caption },
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)),
    make("tbody", { role: "rowgroup" }, ...rows));
}

/** A row says its role, which a browser forgets where a small window shows it as a block. */
function row(name, type, isRequired, text) {
  const optional = isRequired ? "" : make("span", { class: "note" }, " optional");
  return make("tr", { role: "row" },
    make("th", { scope: "row", role: "rowheader" }, make("code", {}, name), optional),
    make("td", { role: "cell" }, make("span", { class: "note" }, type)),
    make("td", { role: "cell" }, ...prose(text)));
}

function typeOf(description, schema) {
  const whole = description.resolve(schema);
  if (whole.enum) return whole.enum.map((value) => JSON.stringify(value)).join(", ");
  if (whole.anyOf) return [...new Set(whole.anyOf.map((each) => typeOf(description, each)))].join(" or ");
  if (whole.type === "array") return `list of ${typeOf(description, whole.items)}`;
  return whole.type ?? "any";
}

/** The rows of an object's fields, with those of objects inside it. */
function fieldRows(description, schema, prefix = "") {
  const whole = description.resolve(schema);
  return Object.entries(whole.properties ?? {}).flatMap(([name, each]) => {
    const field = description.resolve(each);
    const isRequired = (whole.required ?? []).includes(name);
    const own = row(prefix + name, typeOf(description, field), isRequired, field.description);
    const inner = field.type === "array" ? field.items : field;
    return [own, ...fieldRows(description, inner, `${prefix}${name}${field.type === "array" ? "[]" : ""}.`)];
  });
}

function section(title, ...content) {
  return make("section", {}, make("h4", {}, title), ...content);
}

function parameters(operation) {
  const rows = (operation.parameters ?? []).map((each) =>
    row(each.name, `in the ${each.in}`, each.required, each.description));
  return rows.length ? section("Parameters", table("Parameters", rows)) : null;
}

function body(description, operation) {
  const content = operation.requestBody?.content;
  if (!content) return null;
  const kinds = Object.keys(content).map((kind) => make("code", {}, kind)).flatMap((each, i) => (i ? [" or ", each] : [each]));
  return section("Body", make("p", { class: "note" }, ...kinds),
    table("Fields of the body", fieldRows(description, Object.values(content)[0].schema)));
}

function curl(description, operation) {
  const path = operation.path.replace(/{(\w+)}/g, (_, name) =>
    operation.parameters.find((each) => each.name === name).example);
  const way = (operation.security ?? []).flatMap(Object.keys).find((name) => CARRIERS[name]);
  const content = operation.requestBody?.content["application/json"];
  const url = new URL(path.slice(1), document.baseURI).href;
  const words = [
    "curl",
    operation.method === "get" || content ? "-i" : `-i -X ${operation.method.toUpperCase()}`,
    way && `-H "${CARRIERS[way]}"`,
    content && `--json '${JSON.stringify(description.example(content.schema))}'`,
    operation.path === "/getOpenid" ? `"${url}?code=$CODE"` : url,
  ];
  return make("pre", { tabindex: "0", "aria-label": "Command" }, make("code", {}, words.filter(Boolean).join(" ")));
}

function callers(operation) {
  const ways = (operation.security ?? []).flatMap(Object.keys);
  if (ways.includes("operator")) return make("p", { class: "note" }, "For operators, with their token.");
  if (!ways.length) return make("p", { class: "note" }, "For anybody.");
  const isOptional = operation.security.some((way) => Object.keys(way).length === 0);
  return make("p", { class: "note" }, isOptional ? "With the session's id, or without." : "With the session's id.");
}

function headerRows(description, response) {
  const own = Object.entries(response.headers ?? {}).filter(([name]) => !ON_ALL_ANSWERS.includes(name));
  return own.map(([name, each]) => {
    const header = description.resolve(each);
    return row(name, "header", header.required, header.description);
  });
}

function examples(description, content) {
  if (!content) return [];
  const [kind, { schema, examples: named }] = Object.entries(content)[0];
  if (kind !== "application/json") return [];
  const values = named ? Object.values(named).map((each) => each.value) : [description.example(schema)];
  return values.map((value) =>
    make("pre", { tabindex: "0", "aria-label": "Example" }, make("code", {}, JSON.stringify(value, null, 2))));
}

/** One status: what it says, and behind it the fields, the headers and the examples. */
function answer(description, status, response) {
  const isSuccess = status < "300";
  const schema = Object.values(response.content ?? {})[0]?.schema;
  const rows = [...(isSuccess && schema ? fieldRows(description, schema) : []), ...headerRows(description, response)];
  const attributes = isSuccess ? { open: "" } : {};
  return make("details", attributes,
    make("summary", {}, make("b", {}, status), " ", ...prose(response.description)),
    ...examples(description, response.content), table(`Fields and headers of ${status}`, rows));
}

function article(description, operation) {
  const answers = Object.entries(operation.responses).map(([status, response]) =>
    answer(description, status, description.resolve(response)));
  return make("article", { id: operation.operationId, "aria-labelledby": `${operation.operationId}-title` },
    make("h3", { id: `${operation.operationId}-title` }, ...title(operation)),
    ...paragraphs(operation.summary), ...paragraphs(operation.description), callers(operation),
    curl(description, operation), parameters(operation), body(description, operation), section("Answers", ...answers));
}

function title({ method, path }) {
  return [make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", {}, path)];
}

function show(description) {
  const { info } = description.document;
  document.getElementById("version").textContent = info.version;
  const groups = description.groups();
  document.getElementById("content").replaceChildren(...paragraphs(info.description), ...groups.map((group) =>
    make("section", {}, make("h2", {}, group.name), ...paragraphs(group.description),
      ...group.operations.map((operation) => article(description, operation)))));
  document.getElementById("routes").replaceChildren(...groups.map((group) =>
    make("section", {}, make("h2", {}, group.name), make("ul", {}, ...group.operations.map((operation) =>
      make("li", {}, make("a", { href: `#${operation.operationId}` }, ...title(operation))))))));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function complain() {
  const status = document.getElementById("status");
  status.className = "problem";
  status.textContent = "The description could not be loaded. Is the service running? Reload the page to try again.";
}

fetch("openapi.json")
  .then((response) => (response.ok ? response.json() : Promise.reject(new Error(response.statusText))))
  .then((document) => show(new Description(document)))
  .catch((error) => { console.error(error); complain(); });

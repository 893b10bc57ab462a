// Shows what /api/v1/pools and /api/v1/config say, once a second. What comes from there is put in as text, never as markup.
"use strict";

const EVERY = 1000;
const MOST = 200; // Rows of a table; what is beyond is counted.
const before = new Map(); // Counts of a backend at the last look, for rates.

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function row(cells) {
  const made = element("tr");
  made.append(...cells);
  return made;
}

function table(heads, rows, className) {
  const made = element("table", undefined, className);
  const head = element("thead");
  head.append(row(heads.map(([text, className]) => element("th", text, className))));
  const body = element("tbody");
  body.append(...rows.slice(0, MOST));
  made.append(head, body);
  if (rows.length > MOST) made.append(element("caption", `and ${rows.length - MOST} more`));
  return made;
}

function facts(pairs) {
  const made = element("span", undefined, "facts");
  for (const [word, value] of pairs) {
    made.append(`${word} `, element("b", value), " · ");
  }
  if (made.lastChild) made.lastChild.remove();
  return made;
}

const tone = { healthy: "good", unhealthy: "bad", ejected: "bad", unprobed: "wait", draining: "wait" };

function perSecond(key, counts, now) {
  const last = before.get(key);
  before.set(key, { counts, now });
  if (!last || now <= last.now) return counts.map(() => "");
  const seconds = (now - last.now) / 1000;
  return counts.map((count, i) => {
    const rate = Math.max(0, count - last.counts[i]) / seconds;
    return rate === 0 ? "0" : rate < 10 ? rate.toFixed(1) : Math.round(rate).toString();
  });
}

function backend(pool, view, now) {
  const [succeeded, failed] = perSecond(`${pool} ${view.address}`, [view.succeeded, view.failed], now);
  const flight = view.max_in_flight ? `${view.in_flight}/${view.max_in_flight}` : `${view.in_flight}`;
  const latency = view.latency_seconds == null ? "" : `${(view.latency_seconds * 1000).toFixed(1)} ms`;
  const address = element("td");
  address.append(element("code", view.address));
  const spare = view.admitted && view.preferred === 0 && "for what others cannot take";
  const notes = [view.reason, spare, view.zone && `zone ${view.zone}`, view.priority > 0 && `priority ${view.priority}`];
  if (view.probes_overdue) notes.push("probes overdue");
  const state = element("td");
  state.append(element("span", view.state, `state ${tone[view.state] ?? ""}`));
  return row([
    address,
    state,
    element("td", view.weight, "number"),
    element("td", flight, "number"),
    element("td", succeeded, "number"),
    element("td", failed, failed && failed !== "0" ? "number bad" : "number"),
    element("td", latency, "number"),
    element("td", notes.filter(Boolean).join("; "), "why"),
  ]);
}

function pool(view, made, now) {
  const card = element("article");
  const all = view.backends.length;
  const words = element("span", `${view.admitted} of ${all} admitted`, view.admitted === 0 ? "bad" : view.admitted < all ? "wait" : "good");
  const more = [["balance", made?.balance], ["health check", made?.health_check], ["source", made?.source]];
  if (view.waiting > 0) more.push(["waiting", view.waiting]);
  if (view.concurrency_limit != null) more.push(["at most in flight", view.concurrency_limit]);
  if (view.max_connections != null) more.push(["connections", `${view.connections}/${view.max_connections}`]);
  card.append(element("h2", view.name), words, " · ", facts(more.filter(([, value]) => value !== undefined)));
  const heads = [["backend"], ["state"], ["weight", "number"], ["in flight", "number"], ["answered/s", "number"],
    ["failed/s", "number"], ["latency", "number"], [""]];
  if (view.discovery_failure) card.append(element("p", `its source does not say who is there: ${view.discovery_failure}`, "bad"));
  card.append(table(heads, view.backends.map((one) => backend(view.name, one, now)), "backends"));
  return card;
}

function filters(names) {
  const made = element("td");
  made.append(...names.map((name) => element("code", name, "filter")));
  return made;
}

function ways(config) {
  const card = element("article");
  card.append(element("h2", "Routes"));
  const rows = [];
  if (config.filters.length) rows.push(row([element("td", "every request"), element("td"), filters(config.filters)]));
  for (const one of config.listeners.filter((listener) => listener.filters.length)) {
    rows.push(row([element("td", `what comes to ${one.scheme}://${one.address}`), element("td"), filters(one.filters)]));
  }
  for (const one of config.routes) {
    const what = element("td");
    what.append(element("code", one.matches));
    if (one.line) what.title = `line ${one.line}`;
    rows.push(row([what, element("td", one.does), filters(one.filters)]));
  }
  const where = config.listeners.map((one) => `${one.scheme}://${one.address}`).join(", ");
  card.append(facts([["listening on", where]]), table([["request"], ["becomes"], ["passes"]], rows));
  return card;
}

let unchanged = "";

async function look() {
  const stale = document.getElementById("stale");
  try {
    const [pools, config, ready] = await Promise.all([fetch("/api/v1/pools"), fetch("/api/v1/config"), fetch("/readyz")]);
    const [views, text] = [await pools.json(), await config.text()];
    const now = performance.now();
    const made = JSON.parse(text);
    const of = new Map(made.pools.map((one) => [one.name, one]));
    document.getElementById("pools").replaceChildren(...views.map((view) => pool(view, of.get(view.name), now)));
    if (text !== unchanged) {
      document.getElementById("ways").replaceChildren(ways(made));
      unchanged = text;
    }
    const status = document.getElementById("ready");
    status.textContent = (await ready.text()).trim();
    status.className = ready.ok ? "good" : "wait";
    stale.hidden = true;
  } catch (error) {
    stale.textContent = `no answer since ${stale.dataset.since ||= new Date().toLocaleTimeString()}: what is below is old`;
    stale.className = "bad";
    stale.hidden = false;
    return;
  }
  delete stale.dataset.since;
}

async function go() {
  await look();
  setTimeout(go, EVERY);
}

go();

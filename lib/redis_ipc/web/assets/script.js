// Asks for the page again every 2 s, and changes what is different. All works without it.
"use strict";

const main = document.getElementById("main");
const shown = document.getElementById("freshness");
const pause = document.getElementById("pause");
let tag = null;
let timer = null;
let paused = false;

function say(state) {
  shown.className = state;
  shown.textContent = shown.dataset[state];
}

// A row keeps its place by the link that names it. What a visitor did stays: the focus, what is typed, chosen and
// unfolded.
function same(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && id(one) === id(other);
}

// The id of a form is hidden by its input of that name.
function id(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("id") : null;
}

function copyAttributes(from, to) {
  for (const { name, value } of from.attributes) {
    if (to.getAttribute(name) !== value) to.setAttribute(name, value);
  }
  for (const { name } of Array.from(to.attributes)) {
    if (!from.hasAttribute(name) && name !== "open" && name !== "hidden") to.removeAttribute(name);
  }
}

function key(row) {
  const name = row.nodeName === "TR" && row.querySelector("th a");
  return name ? name.getAttribute("href") : null;
}

function change(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.type === "hidden") {
    copyAttributes(fresh, old);
  } else if (old.nodeName !== "INPUT" && old.nodeName !== "TEXTAREA" && old.nodeName !== "SELECT") {
    copyAttributes(fresh, old);
    changeChildren(old, fresh);
  }
}

function changeChildren(old, fresh) {
  const known = new Map();
  for (const child of old.children) if (key(child)) known.set(key(child), child);
  let place = old.firstChild;
  for (const child of Array.from(fresh.childNodes)) {
    const mine = key(child) ? known.get(key(child)) : place && !key(place) && same(place, child) ? place : null;
    if (mine) {
      if (mine === place) place = place.nextSibling;
      else old.insertBefore(mine, place);
      change(mine, child);
    } else {
      old.insertBefore(child, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

async function refresh() {
  try {
    const headers = tag ? { "If-None-Match": tag } : {};
    const response = await fetch(location.href, { headers, cache: "no-store", redirect: "error" });
    if (response.status === 304) return say("live");
    if (!response.ok && response.status !== 503) return say("away");

    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("main");
    if (paused || !fresh) return;
    tag = response.headers.get("ETag");
    changeChildren(main, fresh);
    prepare();
    say(response.ok ? "live" : "away");
  } catch {
    say("away");
  }
}

async function run() {
  if (!document.hidden) await refresh();
  if (!paused) timer = setTimeout(run, Number(main.dataset.refresh));
}

// A button that only works with this script.
function prepare() {
  const all = document.getElementById("choose_all");
  if (all) all.hidden = false;
}

main.addEventListener("click", (event) => {
  if (event.target.id !== "choose_all") return;
  const boxes = Array.from(main.querySelectorAll(".letters input[type=checkbox]"));
  const every = boxes.every((box) => box.checked);
  for (const box of boxes) box.checked = !every;
});

if (pause) {
  for (const part of [pause, shown]) part.hidden = false;
  say("live");
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? pause.dataset.resume : pause.dataset.pause;
    say(paused ? "paused" : "live");
    clearTimeout(timer);
    if (!paused) run();
  });
  timer = setTimeout(run, Number(main.dataset.refresh));
}
prepare();

// Puts the regions that Python renders into the page and sends what a person does. It knows nothing of cases.
const PAUSE = 250; // ms after a key until what was typed is sent
const SILENT = 5000; // ms without an answer until the page says so
const FRAME = `
  <header class="gb-head" data-region="head"></header>
  <div class="gb-tools" data-region="tools" role="toolbar" aria-label="Run, undo, branch, export"></div>
  <div class="gb-jobs" data-region="jobs"></div>
  <div class="gb-message" data-region="message" aria-live="polite"></div>
  <p class="gb-error gb-silent" role="alert" hidden></p>
  <div class="gb-method" data-region="method"></div>
  <div class="gb-panels">
    <section class="gb-tree" data-region="tree" aria-label="Steps"></section>
    <section class="gb-step" data-region="step" aria-label="Step" tabindex="0"></section>
    <section class="gb-effect" data-region="effect" aria-label="Effect" tabindex="0"></section>
  </div>
  <section class="gb-findings" data-region="findings" aria-label="Findings"></section>
  <section class="gb-notes" data-region="notes" aria-label="Note"></section>`;

// --- putting in what changed -----------------------------------------------------------------------------------------------

function parsed(html) {
  const template = document.createElement("template"); // inert: nothing in it loads or runs
  template.innerHTML = html;
  return template.content;
}

const keyOf = (node) => node.dataset?.key ?? node.dataset?.stepId;

/** Make the children of `live` those of `next`; elements that stay the same, or have the same key, are kept as they are. */
function morph(live, next) {
  const wanted = [...next.childNodes];
  const keys = new Set(wanted.map(keyOf).filter(Boolean));
  for (const child of [...live.children]) if (keyOf(child) && !keys.has(keyOf(child))) child.remove();
  const keyed = new Map([...live.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let at = live.firstChild;
  for (const node of wanted) {
    const key = keyOf(node);
    const same = key ? keyed.get(key) : at && !keyOf(at) && at.nodeName === node.nodeName ? at : null;
    if (!same) live.insertBefore(node, at);
    else {
      while (key && at !== same && at && !keyOf(at)) at = dropped(at); // so that nothing moves: what moves loses the focus
      if (same === at) at = at.nextSibling;
      else live.insertBefore(same, at);
      patch(same, node);
    }
  }
  while (at) at = dropped(at);
}

function dropped(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function patch(live, next) {
  const value = next.value; // read now: children move over to `live`
  if (live.isEqualNode(next)) return keepValue(live, next, value);
  if (live.nodeType !== Node.ELEMENT_NODE) return void (live.data = next.data);
  for (const { name } of [...live.attributes]) if (name !== "open" && !next.hasAttribute(name)) live.removeAttribute(name);
  for (const { name, value } of next.attributes) if (name !== "open" && live.getAttribute(name) !== value) live.setAttribute(name, value);
  if (live.nodeName === "TEXTAREA") live.textContent = next.textContent;
  else morph(live, next);
  keepValue(live, next, value);
}

/** Fields show what Python says, but the one that a person is typing in. */
function keepValue(live, next, value) {
  if (live.type === "checkbox") live.checked = next.checked;
  else if (live.nodeName === "SELECT") live.value = value;
  else if (["TEXTAREA", "INPUT"].includes(live.nodeName) && live !== document.activeElement && live.value !== value) live.value = value;
}

/** The keys of a menu: arrows move in it, Escape gives the focus back to what opened it, and whatever leaves it closes it. */
function inMenu(event, menu, opener) {
  const items = [...menu.querySelectorAll("[role=menuitem]")];
  const at = items.indexOf(event.target);
  const moves = { ArrowDown: (at + 1) % items.length, ArrowUp: Math.max(at, 0) - 1, Home: 0, End: -1 };
  if (event.key in moves) items.at(moves[event.key]).focus();
  else if (event.key === "Escape" || event.key === "Tab") {
    if (event.key === "Escape") opener.focus();
    opener.click();
  }
  if (event.key in moves || event.key === "Escape") event.preventDefault();
}

// --- the tree: what is folded, filtered and focused is the page's own ------------------------------------------------------

/** Setting what is there already would have the page laid out anew. */
function put(row, name, value) {
  if (row.getAttribute(name) !== String(value)) row.setAttribute(name, value);
}

class Tree {
  constructor(place, go) {
    Object.assign(this, { place, go, folded: new Set(), filter: "", words: "" });
  }
  get rows() {
    return [...this.place.querySelectorAll("[data-step-id]")];
  }
  get seen() {
    return this.rows.filter((row) => !row.hidden);
  }
  /** Mark `step`, hide what is folded, filtered out or not found; a row that is picked out stays with all it stands below. */
  arrange(step) {
    this.step = String(step);
    const rows = this.rows;
    const level = (row) => Number(row.ariaLevel);
    const picks = rows.map((row) => this.picks(row));
    const narrowed = this.filter || this.words;
    for (let n = rows.length - 1, needed = 0; n >= 0 && narrowed; n--) {
      if (picks[n] === true) needed = level(rows[n]) - 1;
      else if (level(rows[n]) <= needed) [picks[n], needed] = [true, level(rows[n]) - 1];
    }
    let closed = Infinity; // rows deeper than this level are folded away
    rows.forEach((row, n) => {
      const deep = level(row);
      if (deep <= closed) closed = Infinity;
      row.hidden = narrowed ? !picks[n] : deep > closed;
      const parent = rows[n + 1] && level(rows[n + 1]) > deep;
      const open = !this.folded.has(row.dataset.stepId) || Boolean(narrowed);
      const here = row.dataset.stepId === this.step;
      if (parent) put(row, "aria-expanded", open);
      else row.removeAttribute("aria-expanded");
      if (parent && !open && closed === Infinity) closed = deep;
      put(row, "role", "treeitem"); // what every row has is set here: a thousand rows are stored shorter
      put(row, "aria-selected", here);
      put(row, "tabindex", here ? 0 : -1);
      put(row, "style", `--gb-level:${Math.min(deep - 1, 12)}`);
    });
    const seen = rows.filter((row) => !row.hidden);
    if (seen.length && !seen.some((row) => row.tabIndex === 0)) seen[0].tabIndex = 0;
    const count = this.place.querySelector(".gb-found");
    if (count) count.textContent = narrowed ? `${seen.length} of ${rows.length} shown` : "";
    this.reveal(rows.find((row) => row.dataset.stepId === this.step));
  }
  picks(row) {
    const tagged = !this.filter || row.dataset.tags?.split(" ").includes(this.filter);
    return tagged && (!this.words || `${row.textContent} ${row.title}`.toLowerCase().includes(this.words));
  }
  /** Scroll the list alone, never the page. */
  reveal(row) {
    const list = row?.parentElement;
    if (!list || row.hidden) return;
    const [top, bottom] = [row.offsetTop, row.offsetTop + row.offsetHeight]; // from the top of the list, which is positioned
    if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  }
  /** Whether a click was on the arrow before the row. */
  twisted(event, row) {
    return event.detail > 0 && row === event.target && row.ariaExpanded && event.offsetX < parseFloat(getComputedStyle(row).paddingLeft) + 14;
  }
  fold(row, shut) {
    this.folded[shut ? "add" : "delete"](row.dataset.stepId);
    this.arrange(this.step);
  }
  key(event, row) {
    const seen = this.seen;
    const at = seen.indexOf(row);
    const above = () => seen.slice(0, at).reverse().find((other) => Number(other.ariaLevel) < Number(row.ariaLevel));
    const moves = { ArrowDown: seen[at + 1], ArrowUp: seen[at - 1], Home: seen[0], End: seen.at(-1) };
    if (event.key === "ArrowLeft" && row.ariaExpanded === "true") this.fold(row, true);
    else if (event.key === "ArrowRight" && row.ariaExpanded === "false") this.fold(row, false);
    else if (event.key === "ArrowLeft") this.pick(above());
    else if (event.key === "ArrowRight") this.pick(row.ariaExpanded === "true" ? seen[at + 1] : null);
    else if (event.key === "Enter" || event.key === " ") this.pick(row);
    else if (event.key in moves) this.pick(moves[event.key]);
    else return;
    event.preventDefault();
  }
  pick(row) {
    if (!row) return;
    for (const other of this.rows) other.tabIndex = -1;
    row.tabIndex = 0;
    row.focus({ preventScroll: true });
    this.reveal(row);
    this.go(Number(row.dataset.stepId));
  }
}

// --- the workbench -----------------------------------------------------------------------------------------------------------

function render({ model, el: root }) {
  root.classList.add("gradbook", "gradbook-stepper");
  root.innerHTML = model.get("frame") || FRAME;
  const places = Object.fromEntries([...root.querySelectorAll("[data-region]")].map((place) => [place.dataset.region, place]));
  const shown = {};
  const folds = new Map(); // what a person opened or shut, by the fold's name
  const typing = new Map(); // fields whose text is not sent yet, with their timers
  const silent = root.querySelector(".gb-silent");
  const greeted = new WeakSet(); // fields that had the focus once when they were put in
  let sent = 0, wait = null, asked = null, next = null, focused = null;

  const send = (message) => {
    if (message.do !== "type" && message.do !== "note") flush();
    model.send({ ...message, n: ++sent });
    wait ??= setTimeout(() => {
      silent.textContent = "The kernel does not answer. What you type stays in this page alone until it does, or until you run the cell again.";
      silent.hidden = false;
    }, SILENT);
  };
  const told = (field) => ({
    ...JSON.parse(field.dataset.do),
    value: field.type === "checkbox" ? field.checked : field.value,
  });
  const flush = (field) => {
    for (const each of field ? [field] : [...typing.keys()]) {
      clearTimeout(typing.get(each));
      if (typing.delete(each)) send(told(each));
    }
  };
  // While a step is being fetched, only the last one asked for waits: a key held down does not pile up work.
  const go = (step) => {
    if (asked !== null) return void (next = step);
    asked = step;
    send({ do: "go", step });
  };
  const tree = places.tree && new Tree(places.tree, go);

  const draw = () => {
    const held = document.activeElement;
    const inside = root.contains(held);
    const redrawn = new Set(Object.keys(places).filter((name) => model.get(name) !== shown[name]));
    for (const name of redrawn) {
      const html = (shown[name] = model.get(name));
      morph(places[name], parsed(html));
      for (const fold of places[name].querySelectorAll("details[data-fold]")) {
        if (folds.has(fold.dataset.fold)) fold.open = folds.get(fold.dataset.fold);
      }
    }
    const step = String(model.get("shown"));
    if (tree && (redrawn.has("tree") || root.dataset.step !== step)) tree.arrange(step);
    root.dataset.look = model.get("look");
    root.dataset.step = step;
    if (inside) refocus(held);
    if (model.get("seen") < sent) return;
    clearTimeout(wait);
    wait = asked = null;
    silent.hidden = true;
    if (next !== null && String(next) !== step) go(next);
    next = null;
  };
  /** A field that Python has just put in for a person to type in gets the focus; a control that is gone hands it to its heir. */
  const refocus = (held) => {
    const fresh = [...root.querySelectorAll("[data-autofocus]")].filter((field) => !greeted.has(field));
    fresh.forEach((field) => greeted.add(field));
    if (fresh.length) fresh[0].focus();
    else if (held.isConnected && held !== document.activeElement) held.focus({ preventScroll: true });
    else if (!held.isConnected && focused) {
      const heir = [...root.querySelectorAll("[data-at]")].find((each) => each.dataset.at === focused && !each.disabled);
      (heir ?? places.step ?? root.querySelector("button"))?.focus({ preventScroll: true });
    }
  };

  const listeners = {
    click: (event) => {
      const row = event.target.closest("[data-step-id]");
      if (row) return tree.twisted(event, row) ? tree.fold(row, row.ariaExpanded === "true") : tree.pick(row);
      const made = event.target.closest("button[data-do]");
      if (made && !made.disabled && made.ariaDisabled !== "true" && event.detail < 2) send(JSON.parse(made.dataset.do)); // a double click is one wish
    },
    change: (event) => {
      const field = event.target;
      if (field.matches(".gb-filter")) {
        tree.filter = field.value;
        tree.arrange(tree.step);
      } else if (typing.has(field)) flush(field);
      else if (field.matches("select[data-do], input[type=checkbox][data-do]")) send(told(field));
    },
    input: (event) => {
      const field = event.target;
      if (field.matches(".gb-search")) {
        tree.words = field.value.trim().toLowerCase();
        tree.arrange(tree.step);
      } else if (field.matches("textarea[data-do], input[type=text][data-do], input[type=number][data-do]")) {
        clearTimeout(typing.get(field));
        typing.set(field, setTimeout(() => flush(field), PAUSE));
      }
    },
    focusin: (event) => (focused = event.target.closest("[data-at]")?.dataset.at ?? null),
    focusout: (event) => flush(event.target),
  };
  for (const [name, listener] of Object.entries(listeners)) root.addEventListener(name, listener);
  const toggled = (event) => event.target.dataset?.fold && folds.set(event.target.dataset.fold, event.target.open);
  root.addEventListener("toggle", toggled, true); // it does not bubble
  // On the window, before the shortcuts of JupyterLab and Notebook 7: plain keys are the workbench's while it has the focus.
  const keydown = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !root.contains(event.target)) return;
    const row = event.target.closest("[data-step-id]");
    if (row) tree.key(event, row);
    const opener = root.querySelector("[aria-haspopup=menu][aria-expanded=true]");
    const menu = root.querySelector("[role=menu]");
    if (opener && menu && (event.target === opener || menu.contains(event.target))) inMenu(event, menu, opener);
    event.stopPropagation();
  };
  const leave = () => flush();
  window.addEventListener("keydown", keydown, true);
  window.addEventListener("pagehide", leave);
  const placed = new ResizeObserver(() => tree.reveal(tree.rows.find((row) => row.dataset.stepId === tree.step)));
  if (tree) placed.observe(places.tree);
  model.on("change", draw);
  draw();
  send({ do: "hello" });
  return () => {
    flush();
    clearTimeout(wait);
    placed.disconnect();
    model.off("change", draw);
    window.removeEventListener("keydown", keydown, true);
    window.removeEventListener("pagehide", leave);
  };
}

export default { render };

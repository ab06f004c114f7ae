// Filters, sorts and pages the list of pairs. Without it the page shows all of them, in order.
"use strict";
(() => {
  const PAGE = 12;
  const element = (id) => document.getElementById(id);
  const list = element("pair-list");
  if (!list) return;
  const cards = [...list.children];
  const fields = {};
  for (const field of document.querySelectorAll("[data-filter]")) fields[field.dataset.filter] = field;
  let found = cards;
  let page = 0;

  // The texts of a card in lower case, read when they are first searched.
  const texts = new Map();
  function textOf(card) {
    if (!texts.has(card)) texts.set(card, card.textContent.toLowerCase().replace(/\s+/g, " "));
    return texts.get(card);
  }

  const number = (text) => (text === "" ? NaN : Number(text));

  function matcher() {
    const wanted = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value]));
    const words = wanted.text.toLowerCase().trim().replace(/\s+/g, " ");
    const [first, last, least] = [wanted.first, wanted.last, wanted.relevance].map(number);
    return (card) => {
      const { types, answer, status, reason, step, relevance, tokens } = card.dataset;
      return (
        (!wanted.type || types.split(" ").includes(wanted.type)) &&
        (!wanted.answer || answer === wanted.answer) &&
        (!wanted.tokens || tokens === wanted.tokens) &&
        (!wanted.outcome || status === wanted.outcome || reason === wanted.outcome) &&
        !(Number(step) < first) && !(Number(step) > last) &&
        (Number.isNaN(least) || number(relevance) >= least) &&
        (!words || textOf(card).includes(words))
      );
    };
  }

  // Cards without the figure are last, whichever the direction.
  function sorted(matching) {
    const key = fields.sort.value.replace("-", "");
    const sign = fields.sort.value.startsWith("-") ? -1 : 1;
    const valueOf = (card) => {
      const value = sign * number(card.dataset[key]);
      return Number.isNaN(value) ? Infinity : value;
    };
    const keyed = matching.map((card) => [valueOf(card), Number(card.dataset.order), card]);
    keyed.sort((a, b) => (a[0] === b[0] ? a[1] - b[1] : a[0] - b[0]));
    return keyed.map((entry) => entry[2]);
  }

  function show() {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    for (const card of list.querySelectorAll(":scope > :not([hidden])")) card.hidden = true;
    for (const card of found.slice(page * PAGE, (page + 1) * PAGE)) {
      card.hidden = false;
      list.append(card); // moved to its place in the order
      for (const text of card.querySelectorAll(".heat")) text.tabIndex = 0;
    }
    const total = cards.length.toLocaleString("en");
    element("pair-count").textContent =
      `${found.length.toLocaleString("en")} of ${total} · page ${page + 1} of ${pages}`;
    element("pair-previous").disabled = page === 0;
    element("pair-next").disabled = page === pages - 1;
  }

  function apply() {
    found = sorted(cards.filter(matcher()));
    page = 0;
    show();
  }

  function turn(by) {
    page += by;
    show();
    element("pair-filter").scrollIntoView();
  }

  function reset() {
    for (const field of Object.values(fields)) field.value = "";
    fields.sort.value = "order";
    apply();
  }

  // The pair after or before the one that has the focus.
  function move(by) {
    const shown = [...list.querySelectorAll(":scope > :not([hidden])")];
    const at = shown.indexOf(document.activeElement?.closest?.("#pair-list > article"));
    const next = shown[at < 0 ? 0 : at + by];
    if (next) next.focus();
  }

  let waiting = 0;
  for (const field of Object.values(fields)) {
    field.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(apply, field.type === "search" ? 120 : 0);
    });
  }
  element("pair-previous").addEventListener("click", () => turn(-1));
  element("pair-next").addEventListener("click", () => turn(1));
  element("pair-reset").addEventListener("click", reset);
  for (const link of document.querySelectorAll("[data-outcome]")) {
    link.addEventListener("click", () => {
      reset();
      fields.outcome.value = link.dataset.outcome;
      apply();
    });
  }

  // The number of the token under the pointer, or of that which arrow keys have come to.
  const numberLine = element("strip-number");
  let token = null;

  function read(next) {
    if (!numberLine || next === token) return;
    token?.classList.remove("at");
    token = next;
    numberLine.hidden = token === null;
    if (token === null) return;
    token.classList.add("at");
    const words = token.textContent.trim();
    numberLine.textContent = `${words ? `“${words}”  ` : ""}log π/π₀ ${token.title}`;
  }

  const stripOf = (target) => target?.closest?.("#pair-list .heat") ?? null;
  const tokenOf = (target) => (stripOf(target) ? target.closest("i") : null);
  list.addEventListener("pointerover", (event) => read(tokenOf(event.target)));
  list.addEventListener("click", (event) => read(tokenOf(event.target) ?? token));
  list.addEventListener("pointerleave", () => read(null));
  list.addEventListener("focusin", (event) => read(stripOf(event.target)?.querySelector("i") ?? null));
  list.addEventListener("focusout", () => read(null));

  function along(key) {
    const tokens = [...(stripOf(document.activeElement)?.querySelectorAll("i") ?? [])];
    const at = tokens.indexOf(token);
    const place = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tokens.length - 1 }[key];
    if (place === undefined || !tokens.length) return false;
    read(tokens[Math.min(Math.max(place, 0), tokens.length - 1)]);
    return true;
  }

  const keys = {
    "/": () => fields.text.focus(),
    n: () => element("pair-next").click(),
    p: () => element("pair-previous").click(),
    j: () => move(1),
    k: () => move(-1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest?.("input, select");
    if (event.key === "Escape" && typing) return typing.blur();
    if (event.key === "Escape") return read(null);
    if (!typing && along(event.key)) return event.preventDefault();
    if (typing || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  for (const card of cards) card.hidden = true;
  list.classList.add("paged"); // so few pairs that all of them can be laid out
  element("pair-filter").hidden = false;
  apply();
})();

// The reader's answers: shown, kept in this browser if it allows it, and saved as a file.
"use strict";
(() => {
  const element = (id) => document.getElementById(id);
  const review = document.body.dataset.review;
  const storageKey = `medray-review-${review}`;
  const pairs = [...document.querySelectorAll("article[data-pair]")];
  const fields = [...document.querySelectorAll("[data-field]")];
  const { noun, nouns, alone } = document.body.dataset; // alone: one answer, not two sides
  const RIGHT = ["A", "B", "both", "neither", "cannot tell"];
  const READABLE = ["A", "B", "both"]; // with other answers there is no better text to judge

  let state = { reader: "", grades: {} };
  let current = 0;
  let kept = true; // by this browser
  let saved = true; // in a file

  // --- what is kept -----------------------------------------------------------------------------

  // Lone surrogates cannot be written as UTF-8.
  const wellFormed = (text) => String(text).replace(/[\ud800-\udfff]/gu, "\ufffd");

  function load() {
    try {
      const found = JSON.parse(localStorage.getItem(storageKey)) ?? {};
      state = { reader: wellFormed(found.reader ?? ""), grades: {} };
      for (const pair of pairs) {
        const grade = found.grades?.[pair.dataset.pair];
        if (!grade) continue;
        state.grades[pair.dataset.pair] = {
          right: RIGHT.includes(grade.right) ? grade.right : null,
          reads_well: READABLE.includes(grade.right) && typeof grade.reads_well === "boolean" ? grade.reads_well : null,
          comment: wellFormed(grade.comment ?? ""),
        };
      }
    } catch (error) {
      if (!(error instanceof SyntaxError)) kept = false; // else something of another program
    }
  }

  function keep() {
    saved = false;
    try {
      localStorage.setItem(storageKey, JSON.stringify(state));
    } catch {
      kept = false;
    }
    element("unkept").hidden = kept;
  }

  const gradeOf = (pair) => state.grades[pair.dataset.pair] ?? { right: null, reads_well: null, comment: "" };
  const isDone = (grade) => grade.right !== null && (grade.reads_well !== null || !READABLE.includes(grade.right));

  function change(values) {
    const pair = pairs[current];
    state.grades[pair.dataset.pair] = { ...gradeOf(pair), ...values };
    keep();
  }

  // --- what is shown ----------------------------------------------------------------------------

  const map = pairs.map((_, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = String(index + 1);
    button.addEventListener("click", () => move(index));
    const item = document.createElement("li");
    item.append(button);
    element("map").append(item);
    return button;
  });

  function show() {
    const grade = gradeOf(pairs[current]);
    const done = pairs.map((pair) => isDone(gradeOf(pair)));
    const count = done.filter(Boolean).length;
    pairs.forEach((pair, index) => { pair.hidden = index !== current; });
    element("position").textContent = `${noun} ${current + 1} of ${pairs.length} · ${count} answered`;
    element("bar").value = count;
    map.forEach((button, index) => {
      button.className = done[index] ? "done" : "";
      button.ariaCurrent = index === current ? "true" : null;
      button.ariaLabel = `${noun} ${index + 1}${done[index] ? ", answered" : ""}`;
    });

    const readable = READABLE.includes(grade.right);
    element("well-label").textContent =
      grade.right === "both" ? "Both read well" : readable && !alone ? `${grade.right} reads well` : "It reads well";
    const pressed = { right: grade.right, reads_well: grade.reads_well === null ? null : grade.reads_well ? "yes" : "no" };
    for (const field of fields) {
      const off = field.dataset.field === "reads_well" && !readable;
      field.classList.toggle("off", off);
      for (const button of field.querySelectorAll("button")) {
        button.disabled = off;
        button.ariaPressed = String(button.dataset.value === pressed[field.dataset.field]);
      }
    }
    for (const side of pairs[current].querySelectorAll(".side")) {
      side.classList.toggle("picked", grade.right === "both" || grade.right === side.dataset.side);
    }
    if (document.activeElement !== element("comment")) element("comment").value = grade.comment;
    element("previous").disabled = current === 0;
    element("next").disabled = current === pairs.length - 1;
    element("unkept").hidden = kept;
  }

  function move(index) {
    if (index < 0 || index >= pairs.length) return;
    element("comment").blur();
    element("help").open = false;
    current = index;
    show();
    window.scrollTo(0, document.querySelector("main").offsetTop);
  }

  function moveToUnanswered() {
    for (let step = 1; step <= pairs.length; step += 1) {
      const index = (current + step) % pairs.length;
      if (!isDone(gradeOf(pairs[index]))) return move(index);
    }
  }

  function answer(field, value) {
    const grade = gradeOf(pairs[current]);
    if (field === "right") {
      const right = grade.right === value ? null : value;
      change({ right, reads_well: right === grade.right && READABLE.includes(right) ? grade.reads_well : null });
    } else if (READABLE.includes(grade.right)) {
      const reads = value === "yes";
      change({ reads_well: grade.reads_well === reads ? null : reads });
    }
    show();
  }

  // --- saving -----------------------------------------------------------------------------------

  // CRC-32 of the UTF-8 bytes, in hexadecimal: tells whether the file was changed by hand.
  function checksum(text) {
    let crc = -1;
    for (const byte of new TextEncoder().encode(text)) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ((crc ^ -1) >>> 0).toString(16).padStart(8, "0");
  }

  function content() {
    const grades = pairs
      .map((pair) => ({ pair: pair.dataset.pair, ...gradeOf(pair) }))
      .filter((grade) => grade.right !== null || grade.comment !== "");
    const values = grades.flatMap((grade) => [grade.pair, grade.right ?? "", String(grade.reads_well ?? ""), grade.comment]);
    return {
      format: "medray-review-1",
      review,
      reader: state.reader,
      grades,
      checksum: checksum([review, state.reader, ...values].join("\u001f")),
    };
  }

  function askName() {
    const count = pairs.filter((pair) => isDone(gradeOf(pair))).length;
    element("state").textContent = `${count} of ${pairs.length} ${nouns} are answered.`;
    element("reader").value = state.reader;
    element("saving").showModal();
    element("reader").focus();
  }

  function download() {
    state.reader = wellFormed(element("reader").value.trim());
    keep();
    element("saving").close();
    const name = state.reader.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    const file = new Blob([JSON.stringify(content(), null, 1) + "\n"], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `review-${review}${name && `-${name}`}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    saved = true;
  }

  function clearAll() {
    if (!confirm("Delete all answers of this page from this browser?")) return;
    state = { reader: "", grades: {} };
    keep();
    saved = true;
    move(0);
  }

  // --- events -----------------------------------------------------------------------------------

  const keys = {
    ArrowLeft: () => move(current - 1),
    ArrowRight: () => move(current + 1),
    u: moveToUnanswered,
    z: () => document.body.classList.toggle("zoomed"),
    c: () => element("comment").focus(),
    s: askName,
  };
  for (const field of fields) {
    for (const button of field.querySelectorAll("button")) {
      const act = () => answer(field.dataset.field, button.dataset.value);
      button.addEventListener("click", act);
      keys[button.dataset.key] = act;
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || element("saving").open) return;
    if (event.target === element("comment")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  element("comment").addEventListener("input", (event) => change({ comment: wellFormed(event.target.value) }));
  element("comment").addEventListener("blur", show);
  element("reader").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) download();
  });
  element("previous").addEventListener("click", keys.ArrowLeft);
  element("next").addEventListener("click", keys.ArrowRight);
  element("save").addEventListener("click", askName);
  element("cancel").addEventListener("click", () => element("saving").close());
  element("download").addEventListener("click", download);
  element("clear").addEventListener("click", clearAll);
  window.addEventListener("storage", (event) => {
    if (event.key !== storageKey) return;
    load(); // the page is open twice
    show();
  });
  window.addEventListener("beforeunload", (event) => {
    if (!kept && !saved) event.preventDefault();
  });

  load();
  keep(); // finds out whether the browser keeps anything
  saved = true;
  element("help").open = Object.keys(state.grades).length === 0;
  show();
})();

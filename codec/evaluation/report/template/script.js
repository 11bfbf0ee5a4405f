"use strict";

// Without this script all versions of a picture stand below each other.
for (const comparison of document.querySelectorAll(".comparison")) {
  const stage = comparison.querySelector(".stage");
  const slider = stage.querySelector("input");
  const figures = [...stage.querySelectorAll("figure")];
  const [left, right] = comparison.querySelectorAll("select");

  const place = () => {
    stage.style.setProperty("--at", `${slider.value}%`);
    const share = Math.round(slider.value);
    const name = (select) => select.selectedOptions[0].text;
    slider.setAttribute(
      "aria-valuetext",
      `${share} % ${name(left)}, ${100 - share} % ${name(right)}`,
    );
  };

  const show = () => {
    figures.forEach((figure, number) => {
      figure.classList.toggle("left", number === left.selectedIndex);
      figure.classList.toggle("right", number === right.selectedIndex);
    });
    place();
  };

  // Both sides the same would compare nothing: the other side takes what this one had.
  const choose = (select, other, before) => {
    if (select.selectedIndex === other.selectedIndex) other.selectedIndex = before.get(select);
    before.set(select, select.selectedIndex).set(other, other.selectedIndex);
    show();
  };

  const chosen = new Map([[left, left.selectedIndex], [right, right.selectedIndex]]);
  left.addEventListener("change", () => choose(left, right, chosen));
  right.addEventListener("change", () => choose(right, left, chosen));
  slider.addEventListener("input", place);
  slider.value = 50;
  slider.hidden = false;
  comparison.querySelector(".choices").hidden = false;
  comparison.classList.add("live");
  document.getElementById("help").hidden = false;
  show();
}

// The blind comparison: which picture is A is drawn for each of them.
const blind = document.getElementById("blind-section");
if (blind) {
  const trials = [...blind.querySelectorAll("[data-trial]")];
  const stage = document.getElementById("blind-stage");
  const status = document.getElementById("blind-status");
  const buttons = document.getElementById("blind-buttons");
  const result = document.getElementById("blind-result");
  const start = document.getElementById("blind-start");
  const NONE = "no difference";
  let at = -1;
  let order = [];
  let chosen = [];
  let sides = {};
  let asking = false;

  const element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  const button = (text, act) => {
    const made = element("button", text, { type: "button" });
    made.addEventListener("click", act);
    return made;
  };

  const shuffled = (list) => {
    const found = [...list];
    for (let last = found.length - 1; last > 0; last--) {
      const other = Math.floor(Math.random() * (last + 1));
      [found[last], found[other]] = [found[other], found[last]];
    }
    return found;
  };

  const crop = (source, trial, label) => {
    const [left, top, width, height] = trial.dataset.crop.split(" ").map(Number);
    const figure = element("figure");
    const image = element("img", "", { alt: `${label}, crop of ${trial.dataset.name}`, src: source });
    image.style.cssText =
      `width: ${width}px; aspect-ratio: ${width} / ${height}; ` +
      `object-fit: none; object-position: -${left}px -${top}px`;
    figure.append(image, element("figcaption", label));
    return figure;
  };

  const ask = () => {
    const trial = order[at];
    const images = document.querySelectorAll(
      `.comparison[data-panel="${trial.dataset.panel}"] .stage figure img`,
    );
    const [original, ours, rival] = trial.dataset.versions.split(" ").map((n) => images[n].src);
    const { ours: one, rival: other } = trial.dataset;
    const drawn = shuffled([[one, ours], [other, rival]]);
    sides = { A: drawn[0][0], B: drawn[1][0] };
    asking = true;
    stage.replaceChildren(
      crop(drawn[0][1], trial, "A"),
      crop(original, trial, "original"),
      crop(drawn[1][1], trial, "B"),
    );
    status.textContent = `Picture ${at + 1} of ${order.length}: which looks more like the original?`;
    buttons.replaceChildren(
      button("A is better", () => choose(sides.A)),
      button("No difference", () => choose(NONE)),
      button("B is better", () => choose(sides.B)),
    );
    stage.focus();
  };

  const choose = (name) => {
    const trial = order[at];
    const size = { [trial.dataset.ours]: trial.dataset.oursSize };
    size[trial.dataset.rival] = trial.dataset.rivalSize;
    asking = false;
    chosen.push([trial.dataset.name, name]);
    const captions = stage.querySelectorAll("figcaption");
    captions[0].textContent = `A: ${sides.A}, ${size[sides.A]} bytes`;
    captions[2].textContent = `B: ${sides.B}, ${size[sides.B]} bytes`;
    status.textContent = `Your choice in ${trial.dataset.name}: ${name}.`;
    const last = at + 1 === order.length;
    const next = button(last ? "Results" : "Next", last ? finish : advance);
    buttons.replaceChildren(next);
    next.focus();
  };

  const advance = () => {
    at += 1;
    ask();
  };

  const finish = () => {
    const counts = new Map(order.flatMap((t) => [[t.dataset.ours, 0], [t.dataset.rival, 0]]));
    counts.set(NONE, 0);
    for (const [, name] of chosen) counts.set(name, counts.get(name) + 1);
    stage.replaceChildren();
    status.textContent = [...counts].map(([name, count]) => `${name}: ${count}`).join(", ");
    const list = element("ul");
    for (const [picture, name] of chosen) list.append(element("li", `${picture}: ${name}`));
    result.replaceChildren(list);
    result.hidden = false;
    at = -1;
    const again = button("Again", begin);
    buttons.replaceChildren(again);
    again.focus();
  };

  const begin = () => {
    order = shuffled(trials);
    chosen = [];
    result.hidden = true;
    at = 0;
    ask();
  };

  blind.addEventListener("keydown", (event) => {
    const keys = { ArrowLeft: sides.A, ArrowRight: sides.B, ArrowDown: NONE };
    if (!asking || !(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    choose(keys[event.key]);
  });

  start.addEventListener("click", begin);
  blind.hidden = false;
  document.getElementById("blind-link").hidden = false;
}

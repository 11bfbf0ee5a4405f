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

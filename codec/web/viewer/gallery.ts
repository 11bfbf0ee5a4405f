/** The page of a folder of pictures: rows of one height, as wide as the page. */

import "../element/vqcodec-img.ts";

for (const picture of document.querySelectorAll("vqc-img")) {
  const [width, height] = ["width", "height"].map((name) => Number(picture.getAttribute(name)));
  picture.closest("li")?.style.setProperty("--ratio", String(width! / height!));
}

// Every text whose contrast to what is behind it is less than WCAG 2.2 asks for (1.4.3, level AA: 4.5, large text 3).
const canvas = document.createElement("canvas").getContext("2d");
const channels = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
};
const luminance = ([r, g, b]) => {
  const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = channels(getComputedStyle(at).backgroundColor);
    if (color[3] === 255) return color;
  }
  return channels("Canvas");
};
const faint = [];
for (const element of document.querySelectorAll("main *")) {
  const text = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  if (!text || !element.checkVisibility() || element.closest("del")) continue;
  const style = getComputedStyle(element);
  const [one, two] = [luminance(channels(style.color)), luminance(behind(element))].sort((a, b) => b - a);
  const ratio = (one + 0.05) / (two + 0.05);
  if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) faint.push(`${element.textContent.trim()}: ${ratio.toFixed(2)}`);
}
return faint;

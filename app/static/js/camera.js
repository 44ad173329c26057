import { el } from "./dom.js";

/**
 * A button that opens the camera, and the dialog in which the picture is taken. Hidden where the browser has none to
 * offer, as outside of localhost and HTTPS.
 * @param {(shot: File) => void} take
 * @param {{show(error: Error): void}} error
 */
export function camera(take, error) {
  let stream = null;
  let asking = false;
  const video = el("video", {
    autoplay: true,
    playsinline: true,
    muted: true,
    class: "camera__video",
    "aria-label": "What the camera sees",
  });
  const root = el(
    "dialog",
    { class: "camera", "aria-label": "Camera", close: stop },
    video,
    el(
      "div",
      { class: "row" },
      el("button", { type: "button", class: "button", click: shoot }, "Take the picture"),
      el("button", { type: "button", class: "button button--quiet", click: () => root.close() }, "Cancel"),
    ),
  );
  const button = el(
    "button",
    { type: "button", class: "button button--quiet", click: start, hidden: !navigator.mediaDevices },
    "Use the camera",
  );

  async function start() {
    if (asking) return;
    asking = true;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      video.srcObject = stream;
      root.showModal();
    } catch (problem) {
      error.show(new Error(`The camera cannot be used: ${problem.message}. Choose a picture instead.`));
    }
    asking = false;
  }

  function stop() {
    for (const track of stream?.getTracks() ?? []) track.stop();
    video.srcObject = null;
  }

  function shoot() {
    if (!video.videoWidth) return; // nothing is seen yet
    const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.95);
    root.close();
  }

  return { button, root };
}

"""A virtual IP camera: MJPEG over HTTP on 127.0.0.1, with a lens that pictures can be held before.

Run as ``python -m hardware.virtual.camera [--port N]``; the device URL is
``mjpeg+http://127.0.0.1:N/stream``. Commands: ``show``, ``clear``, ``snapshot``, ``fault``. Event: ``shown``
when a frame of the present scene was first sent.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import io
from pathlib import Path

from PIL import Image

from hardware.virtual.console import Command, CommandError, arguments, emit, number, serve_commands, text
from hardware.virtual.scene import View, render

FRAME_SECONDS = 0.1
"""Ten frames a second, as cheap IP cameras send."""

VARIANTS = 3
"""Frames of one scene with different noise, sent in turn: a still picture would be easier than the truth."""

JPEG_QUALITY = 80
MAX_REQUEST = 8192
MAX_PICTURE = 4096 * 4096
BOUNDARY = "frame"
FAULTS = ("none", "drop", "freeze", "garbage")
HEAD = (
    "HTTP/1.1 200 OK\r\n"
    f"Content-Type: multipart/x-mixed-replace; boundary={BOUNDARY}\r\n"
    "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
).encode("ascii")
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class VirtualCamera:
    """The scene, its frames and the viewers."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._scene = 0
        self._told = 0
        self._fault = "none"
        self._viewers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def command(self, command: Command) -> None:
        match command["do"]:
            case "show":
                await self._render(_picture(command), _view(command))
            case "clear":
                await self._render(None, _view(command))
            case "snapshot":
                await self._snapshot(Path(text(command, "to")))
            case "fault":
                self._set_fault(text(command, "kind"))
            case other:
                raise CommandError(f"{other!r} is none of show, clear, snapshot, fault")

    async def start(self) -> None:
        """Render the empty foyer, so that there is a frame from the first moment."""
        await self._render(None, View())
        self._told = self._scene

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One viewer's connection."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served in a task")
        self._viewers[task] = writer
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            target = request.split(b" ", 2)[1] if request.startswith(b"GET ") else b""
            if target.partition(b"?")[0] == b"/stream":
                await self._stream(writer)
            else:
                writer.write(NOT_FOUND)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError):
            # The viewer went away or speaks no HTTP.
            pass
        finally:
            del self._viewers[task]
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        viewers = list(self._viewers)
        for task in viewers:
            task.cancel()
        await asyncio.gather(*viewers, return_exceptions=True)

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        turn = 0
        while True:
            if self._fault != "freeze":
                scene = self._scene
                frame = self._frames[turn % len(self._frames)]
                if self._fault == "garbage":
                    frame = bytes(len(frame) // 2)
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
                writer.write(head.encode("ascii") + frame + b"\r\n")
                await writer.drain()
                turn += 1
                if scene > self._told and self._fault == "none":
                    self._told = scene
                    emit("shown", scene=scene)
            await asyncio.sleep(FRAME_SECONDS)

    async def _render(self, code: Image.Image | None, view: View) -> None:
        # In a thread: half a second of arithmetic would stop the stream.
        self._frames = await asyncio.to_thread(_frames, code, view)
        self._scene += 1

    async def _snapshot(self, to: Path) -> None:
        frame = self._frames[0]

        def save() -> None:
            with Image.open(io.BytesIO(frame)) as picture:
                picture.save(to, format="PNG")

        try:
            await asyncio.to_thread(save)
        except OSError as error:
            raise CommandError(f"the snapshot cannot be written: {error}") from error

    def _set_fault(self, kind: str) -> None:
        if kind not in FAULTS:
            raise CommandError(f"kind is one of {', '.join(FAULTS)}")
        if kind != "drop":
            self._fault = kind
            return
        for writer in self._viewers.values():
            writer.transport.abort()


def _frames(code: Image.Image | None, view: View) -> list[bytes]:
    frames = []
    for scene in render(code, view, variants=VARIANTS):
        file = io.BytesIO()
        scene.save(file, format="JPEG", quality=JPEG_QUALITY)
        frames.append(file.getvalue())
    return frames


def _picture(command: Command) -> Image.Image:
    try:
        if "png" in command:
            octets = Path(text(command, "png")).read_bytes()
        else:
            octets = base64.b64decode(text(command, "base64"), validate=True)
        with Image.open(io.BytesIO(octets)) as picture:
            if picture.width * picture.height > MAX_PICTURE:
                raise CommandError(f"a picture has at most {MAX_PICTURE} pixels")
            flat = Image.new("RGB", picture.size, "white")
            opaque = picture.convert("RGBA")
            flat.paste(opaque, mask=opaque)
            return flat
    except (OSError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise CommandError(f"the picture cannot be read: {error}") from error


def _view(command: Command) -> View:
    usual = View()
    return View(
        tilt=number(command, "tilt", usual.tilt, low=-70, high=70),
        roll=number(command, "roll", usual.roll, low=-180, high=180),
        turn=number(command, "turn", usual.turn, low=-70, high=70),
        blur=number(command, "blur", usual.blur, low=0, high=20),
        noise=number(command, "noise", usual.noise, low=0, high=100),
        px_per_module=number(command, "px_per_module", usual.px_per_module, low=0.5, high=40),
        seed=int(number(command, "seed", usual.seed, low=0, high=2**31)),
    )


async def main() -> None:
    options = arguments("A virtual IP camera: MJPEG over HTTP.")
    camera = VirtualCamera()
    await camera.start()
    server = await asyncio.start_server(camera.serve, "127.0.0.1", options.port, limit=MAX_REQUEST)
    await serve_commands(camera.command, port=server.sockets[0].getsockname()[1])
    server.close()
    await camera.close()


if __name__ == "__main__":
    asyncio.run(main())

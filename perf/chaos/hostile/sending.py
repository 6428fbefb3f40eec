"""The way of an input to its entrance and of the answer back, each within a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from perf.chaos.hostile.answers import INTERNAL, Answer, Outcome, grpc_outcome, http_outcome
from perf.chaos.hostile.attack import Attack, Http, Infer, Session

# A clear answer at once; a queue of some dozens of others' inputs on a small machine is before it.
ANSWER_WITHIN_S = 30.0
# How long a client that does not wait for an answer looks whether one comes.
LOOKS_S = 0.3
END = '{"action": "end"}'
PROBE = '{"type": "are you there", "event_id": "probe"}'
# A WebSocket's 500: an internal error, and an end without a close frame.
BROKEN_OFF = (1006, 1011)
SERVICE = "/inference.GRPCInferenceService/"


class Sender:
    """Sends inputs to one frontend and one Triton; an async context manager."""

    def __init__(self, port: int, triton: str) -> None:
        """port: of the frontend on loopback; triton: its Triton's gRPC address."""
        self._port = port
        self._triton = triton

    async def __aenter__(self) -> Sender:
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(self._triton, options)
        self._infer = self._channel.unary_unary(
            f"{SERVICE}ModelInfer", response_deserializer=pb.ModelInferResponse.FromString
        )
        self._stream = self._channel.stream_stream(
            f"{SERVICE}ModelStreamInfer", response_deserializer=pb.ModelStreamInferResponse.FromString
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def send(self, attack: Attack) -> Outcome:
        """Never raises but where the machine itself fails: whatever a server does is an outcome."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S + 10.0):
                if isinstance(attack, Http):
                    return await self._http(attack)
                if isinstance(attack, Session):
                    return await self._session(attack)
                return await (self._streamed(attack) if attack.streamed else self._once(attack))
        except TimeoutError:
            return Outcome(Answer.LATE, f"nothing within {ANSWER_WITHIN_S:g} s")

    async def _http(self, attack: Http) -> Outcome:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError as error:
            return Outcome(Answer.FAILED, f"no connection: {error!r}")
        answered = b""
        try:
            # A server that has heard enough answers and closes while the rest is still being written.
            with contextlib.suppress(OSError):
                for piece in attack.pieces:
                    writer.write(piece)
                    await writer.drain()
                    if attack.pause_s:
                        await asyncio.sleep(attack.pause_s)
            with contextlib.suppress(OSError):
                async with asyncio.timeout(LOOKS_S if attack.leaves else ANSWER_WITHIN_S):
                    while data := await reader.read(65_536):
                        answered += data
        except TimeoutError:
            if not attack.leaves:
                raise
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return http_outcome(answered, not attack.leaves)

    async def _session(self, attack: Session) -> Outcome:
        address = f"ws://127.0.0.1:{self._port}{attack.path}"
        last = PROBE if attack.path.startswith("/v1/realtime") else END
        heard: list[Outcome] = []
        try:
            async with connect(
                address, max_size=None, compression=None, open_timeout=ANSWER_WITHIN_S, close_timeout=5.0
            ) as socket:
                hearing = asyncio.create_task(_heard(socket, heard))
                try:
                    with contextlib.suppress(ConnectionClosed):
                        for message in (*attack.messages, last):
                            await socket.send(message)
                    async with asyncio.timeout(ANSWER_WITHIN_S):
                        await hearing
                finally:
                    hearing.cancel()
        except InvalidStatus as error:
            status = error.response.status_code
            return Outcome(Answer.FAILED if status >= 500 else Answer.REFUSED, f"{status}", is_http=True)
        except (InvalidHandshake, EOFError) as error:
            return Outcome(Answer.REFUSED, f"no handshake: {error!r}")
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            return Outcome(Answer.FAILED, f"no connection: {error!r}")
        if socket.close_code in BROKEN_OFF:
            heard.append(Outcome(Answer.FAILED, f"closed with {socket.close_code} {socket.close_reason}"))
        return next((one for one in heard if one.answer is Answer.FAILED), heard[-1] if heard else Outcome(Answer.OK))

    async def _once(self, attack: Infer) -> Outcome:
        try:
            await self._infer(attack.request, timeout=ANSWER_WITHIN_S)
        except grpc.aio.AioRpcError as error:
            return grpc_outcome(error.details() or "", error.code().name)
        return Outcome(Answer.OK)

    async def _streamed(self, attack: Infer) -> Outcome:
        """To the last answer; of a live session that was not ended, to its first one."""

        over = asyncio.Event()

        async def requests() -> AsyncIterator[bytes]:
            yield attack.request
            await over.wait()

        call = self._stream(requests(), timeout=ANSWER_WITHIN_S)
        try:
            async for answer in call:
                if answer.error_message:
                    return grpc_outcome(answer.error_message)
                outputs = {one.name: index for index, one in enumerate(answer.infer_response.outputs)}
                if "FINAL" not in outputs or answer.infer_response.raw_output_contents[outputs["FINAL"]] != b"\x00":
                    return Outcome(Answer.OK)
            return Outcome(Answer.CLOSED, "the stream ended")
        except grpc.aio.AioRpcError as error:
            return grpc_outcome(error.details() or "", error.code().name)
        finally:
            over.set()
            call.cancel()


async def _heard(socket: Any, heard: list[Outcome]) -> None:
    """Until the session is closed, or has shown that it lives."""
    with contextlib.suppress(ConnectionClosed):
        async for message in socket:
            event = json.loads(message)
            if event["type"] != "error":
                continue
            # OpenAI's has its words inside of an object.
            error = event.get("error", event)
            words = str(error["message"])
            failed = error.get("type") == "server_error" or INTERNAL.search(words)
            heard.append(Outcome(Answer.FAILED if failed else Answer.REFUSED, words))
            if error.get("event_id") == "probe":
                return

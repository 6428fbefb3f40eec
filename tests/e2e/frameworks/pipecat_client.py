"""Run in an environment with pipecat-ai[openai]: its speech to text in a pipeline, with nothing set but the address.

pipecat_client.py URL WAV KIND...: `file`, `realtime`, or `vad`, the server's turn detection. Prints one json object a
line: model, finals, interims, errors.
"""

import asyncio
import json
import sys
import wave

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.workers.runner import WorkerRunner


class Notes(FrameProcessor):
    """Keeps what passes; errors go the other way, so one stands at either end."""

    def __init__(self, said, done):
        super().__init__()
        self._said, self._done = said, done

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InterimTranscriptionFrame):
            self._said["interims"].append(frame.text)
        elif isinstance(frame, TranscriptionFrame) and direction == FrameDirection.DOWNSTREAM:
            self._said["finals"].append(frame.text)
            self._done.set()
        elif isinstance(frame, ErrorFrame):
            self._said["errors"].append(frame.error)
            self._done.set()
        await self.push_frame(frame, direction)


def service_of(kind, url):
    if kind == "file":
        return OpenAISTTService(api_key="none", base_url=f"{url}/v1")
    address = f"{url.replace('http', 'ws', 1)}/v1/realtime"
    if kind == "realtime":
        return OpenAIRealtimeSTTService(api_key="none", base_url=address)
    # Its default model has no turn detection.
    settings = OpenAIRealtimeSTTService.Settings(model="gpt-transcribe")
    return OpenAIRealtimeSTTService(
        api_key="none", base_url=address, turn_detection={"type": "server_vad"}, settings=settings
    )


async def one(kind, url, pcm, rate_hz):
    service = service_of(kind, url)
    said = {"kind": kind, "model": service._settings.model, "finals": [], "interims": [], "errors": []}
    done, started = asyncio.Event(), asyncio.Event()
    pipeline = Pipeline([Notes(said, done), service, Notes(said, done)])
    worker = PipelineWorker(
        pipeline, params=PipelineParams(audio_in_sample_rate=rate_hz), cancel_on_idle_timeout=False, enable_rtvi=False
    )

    @worker.event_handler("on_pipeline_started")
    async def on_started(worker, frame):
        started.set()

    async def speak():
        await asyncio.wait_for(started.wait(), 20)
        if kind == "realtime" or kind == "vad":
            # Until the session is configured nothing is sent anywhere else either: pipelines begin so.
            while not service._session_ready:
                await asyncio.sleep(0.02)
        size, sound = rate_hz // 50 * 2, pcm + bytes(2 * rate_hz)
        await worker.queue_frame(VADUserStartedSpeakingFrame())
        for start in range(0, len(sound), size):
            frame = InputAudioRawFrame(audio=sound[start : start + size], sample_rate=rate_hz, num_channels=1)
            await worker.queue_frame(frame)
            await asyncio.sleep(0.02)
        if kind != "vad":
            await worker.queue_frame(VADUserStoppedSpeakingFrame())
        try:
            await asyncio.wait_for(done.wait(), 20)
        except asyncio.TimeoutError:
            said["errors"].append("nothing came")
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.wait_for(asyncio.gather(runner.run(), speak()), 90)
    print("SAID", json.dumps(said), flush=True)


async def main(url, path, kinds):
    with wave.open(path) as file:
        rate_hz, pcm = file.getframerate(), file.readframes(file.getnframes())
    for kind in kinds:
        await one(kind, url, pcm, rate_hz)


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))

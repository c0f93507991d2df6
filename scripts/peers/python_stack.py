#!/usr/bin/env python3
"""The usual Python server for this job, written as such servers are written, as a peer for `make bench`.

FastAPI, sse-starlette, transformers' `generate` in a thread with a `TextIteratorStreamer`, one lock around the model. It
loads the same GGUF file, which transformers turns into 32-bit floats. `--as-found` leaves the KV cache off, as the server
did that this one is modelled on; without it the server is as such servers are after their first repair.

POST /completion takes llama-server's parameters, as far as transformers has them, and streams llama-server's events, so
that the same client asks both. There is no grammar: answers end where the model ends them or at `n_predict`.
"""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI, Request
from sse_starlette.sse import EventSourceResponse
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer


def create_app(model_file: Path, use_cache: bool) -> FastAPI:
    folder, name = str(model_file.parent), model_file.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, torch_dtype=torch.float32)
    model.eval()
    app = FastAPI()
    lock = threading.Lock()

    def generate(body: dict, streamer: TextIteratorStreamer) -> None:
        inputs = tokenizer(body["prompt"], return_tensors="pt")
        with lock, torch.inference_mode():
            model.generate(
                **inputs,
                streamer=streamer,
                max_new_tokens=body.get("n_predict", 512),
                do_sample=body.get("temperature", 0.3) > 0,
                temperature=body.get("temperature", 0.3),
                top_p=body.get("top_p", 0.9),
                top_k=body.get("top_k", 50),
                repetition_penalty=body.get("repeat_penalty", 1.1),
                use_cache=use_cache,
            )

    @app.post("/completion")
    async def completion(request: Request) -> EventSourceResponse:
        body = await request.json()
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        threading.Thread(target=generate, args=(body, streamer), daemon=True).start()

        def events():
            for text in streamer:
                if text:
                    yield {"data": json.dumps({"content": text, "stop": False}, ensure_ascii=False)}
            yield {"data": json.dumps({"content": "", "stop": True})}

        return EventSourceResponse(events())

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok"}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="The usual Python stack, as a peer for `make bench`")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--as-found", action="store_true", help="compute every token's whole prefix anew")
    options = parser.parse_args()
    app = create_app(options.model, use_cache=not options.as_found)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()

"""Asks a server with OpenAI's own Python package and LangChain's, and prints what they made of it as JSON:
python openai_client.py BASE_URL MODEL EMBEDDING_MODEL
"""
import json
import sys
from typing import Literal

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

base_url, model, embedding_model = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=60)
said = [{"role": "system", "content": "짧게"}, {"role": "user", "content": "안녕"}]
how = {"model": model, "messages": said, "seed": 7, "max_tokens": 40}


class Step(BaseModel):
    title: str
    minutes: int


class Challenge(BaseModel):
    category: Literal["VEGAN", "PLOGGING"]
    steps: list[Step]
    note: str | None


def refused(ask):
    """The kind of the error, its status and its code."""
    try:
        ask()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.code]
    return None


def streamed():
    text, usage, finish = "", None, None
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(**how, stream=True, stream_options=options):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        usage = chunk.usage or usage
    return {"text": text, "finish": finish, "completion_tokens": usage.completion_tokens}


def helped():
    """The package's own reader of streams, which puts chunks together and takes whole answers only."""
    with client.chat.completions.stream(**{**how, "max_tokens": 300}, response_format=Challenge) as stream:
        for _ in stream:
            pass
        return stream.get_final_completion().choices[0].message.parsed.model_dump()


def left():
    """Reads one chunk of many and goes."""
    stream = client.chat.completions.create(**{**how, "max_tokens": 4000}, stream=True)
    next(iter(stream))
    stream.close()


whole = client.chat.completions.create(**how)
completion = client.completions.create(model=model, prompt="옛날에", seed=7, max_tokens=20)
parts = client.completions.create(model=model, prompt="옛날에", seed=7, max_tokens=20, stream=True)
parsed = client.chat.completions.parse(**{**how, "max_tokens": 300}, response_format=Challenge).choices[0].message.parsed
plain = client.embeddings.create(model=embedding_model, input=["하나", "둘"], encoding_format="float")
coded = client.embeddings.create(model=embedding_model, input=["하나", "둘"])
left()
asked = {"model": model, "instructions": "짧게", "input": "안녕", "max_output_tokens": 40, "extra_body": {"seed": 7}}
response = client.responses.create(**asked)
deltas, completed = "", None
for event in client.responses.create(**asked, stream=True):
    if event.type == "response.output_text.delta":
        deltas += event.delta
    if event.type in ("response.completed", "response.incomplete"):
        completed = event.response.output_text
longer = {**asked, "max_output_tokens": 300, "text_format": Challenge}
parsed_response = client.responses.parse(**longer).output_parsed
# The package's own reader takes whole responses only.
with client.responses.stream(**longer) as stream:
    for _ in stream:
        pass
    helped_response = stream.get_final_response().output_parsed

chain = ChatOpenAI(
    base_url=base_url, api_key="none", model=model, seed=7, max_tokens=40, temperature=1, top_p=1, stream_usage=True
)
messages = [("system", "짧게"), ("human", "안녕")]
structured = ChatOpenAI(base_url=base_url, api_key="none", model=model, seed=7, max_tokens=300)
structured = structured.with_structured_output(Challenge, method="json_schema", strict=True)
embeddings = OpenAIEmbeddings(
    base_url=base_url, api_key="none", model=embedding_model, check_embedding_ctx_length=False
)
chunks = list(chain.stream(messages))

print(json.dumps({
    "models": [one.id for one in client.models.list()] + [client.models.retrieve(model).id],
    "text": whole.choices[0].message.content,
    "total_tokens": whole.usage.total_tokens,
    "streamed": streamed(),
    "helped": helped(),
    "completion": completion.choices[0].text,
    "completion_in_parts": "".join(chunk.choices[0].text for chunk in parts),
    "parsed": parsed.model_dump(),
    "responses": [response.output_text, deltas, completed],
    "parsed_response": parsed_response.model_dump(),
    "helped_response": helped_response.model_dump(),
    "embeddings_are_equal": [one.embedding for one in plain.data] == [one.embedding for one in coded.data],
    "dimension": len(coded.data[0].embedding),
    "refused": [
        refused(lambda: client.chat.completions.create(**{**how, "model": "gpt-4o"})),
        refused(lambda: client.chat.completions.create(**how, tools=[{"type": "function", "function": {"name": "f"}}])),
        refused(lambda: client.chat.completions.create(**{**how, "max_tokens": 1_000_000})),
        refused(lambda: client.embeddings.create(model=embedding_model, input=[[1, 2]])),
        refused(lambda: client.images.generate(prompt="a tree")),
    ],
    "langchain": {
        "text": chain.invoke(messages).content,
        "streamed": "".join(chunk.content for chunk in chunks),
        "output_tokens": sum((chunk.usage_metadata or {}).get("output_tokens", 0) for chunk in chunks),
        "structured": structured.invoke(messages).model_dump(),
        "dimension": len(embeddings.embed_query("하나")),
        "documents": len(embeddings.embed_documents(["하나", "둘", "셋"])),
    },
}))

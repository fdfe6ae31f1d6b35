"""The `openai` package as an app uses it: argument 1 is the base URL. Prints what does not work."""

import asyncio
import sys

from openai import APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

BASE = sys.argv[1]
MODEL = "smollm2-135m-instruct"
ASK = [{"role": "user", "content": "What is a ferry?"}]
wrong = []


def check(what, holds):
    if not holds:
        wrong.append(what)


def whole(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=6, temperature=0.5, top_p=0.9, seed=7,
        extra_headers={"x-slo-ttft-ms": "90000", "x-slo-tpot-ms": "9000"},
    )
    check("text", answer.choices[0].message.content == "This text is canned. No model")
    check("finish", answer.choices[0].finish_reason == "length")
    check("usage", answer.usage.completion_tokens == 6 and answer.usage.prompt_tokens > 0)
    check("cached", answer.usage.prompt_tokens_details.cached_tokens == 0)
    check("report", answer.pliant["met"] is True and answer.pliant["plan"]["level"] <= 100)


def streamed(client):
    chunks = list(client.chat.completions.create(
        model=MODEL, messages=ASK, max_completion_tokens=6, stream=True,
        stream_options={"include_usage": True}, service_tier="flex",
        extra_body={"context": ["A ferry is a ship."], "priority": 1},
    ))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    check("streamed text", text == "This text is canned. No model")
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices]
    check("one finish, the last", finishes[-1] == "length" and not any(finishes[:-1]))
    check("usage in the last chunk", chunks[-1].usage.completion_tokens == 6)
    check("usage there alone", all(c.usage is None for c in chunks[:-1]))


def texts(client):
    answer = client.completions.create(model=MODEL, prompt="Once", max_tokens=3, logprobs=0)
    check("completion", answer.choices[0].text == "This text is")
    pieces = client.completions.create(model=MODEL, prompt="Once", max_tokens=3, stream=True)
    check("streamed completion", "".join(p.choices[0].text for p in pieces) == "This text is")


def models(client):
    names = [model.id for model in client.models.list()]
    check("models", names[0] == MODEL and f"{MODEL}@20" in names)
    check("one model", client.models.retrieve(f"{MODEL}@20").id == f"{MODEL}@20")


def faults(client):
    def fault(kind, **more):
        try:
            client.chat.completions.create(**{"model": MODEL, "messages": ASK, **more})
        except kind as error:
            return error
        wrong.append(f"no {kind.__name__} for {more}")

    error = fault(BadRequestError, top_p=7)
    check("param", error and error.param == "top_p" and error.code == "invalid_value")
    error = fault(NotFoundError, model="gpt-x")
    check("model_not_found", error and error.code == "model_not_found")
    error = fault(APIStatusError, n=2)
    check("n", error and error.status_code == 400 and error.request_id)


def many(client):
    for nth in range(50):
        answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=2)
        check(f"call {nth}", answer.choices[0].message.content == "This text")


def retried():
    """The client tries again after 503; with a key that doubles no work."""
    client = OpenAI(base_url=BASE, api_key="sk-any", max_retries=2)
    for _ in range(2):
        answer = client.chat.completions.create(
            model=MODEL, messages=ASK, max_tokens=2, extra_headers={"Idempotency-Key": "once"})
        check("idempotent", answer.choices[0].message.content == "This text")


async def at_once():
    async with AsyncOpenAI(base_url=BASE, api_key="sk-any", max_retries=0) as client:
        async def one(nth):
            stream = await client.chat.completions.create(
                model=MODEL, messages=ASK, max_tokens=4, stream=nth % 2 == 0)
            if nth % 2:
                return stream.choices[0].message.content
            pieces = [c.choices[0].delta.content or "" async for c in stream if c.choices]
            return "".join(pieces)

        answers = await asyncio.gather(*(one(nth) for nth in range(8)))
        check("at once", answers == ["This text is canned."] * 8)


def run():
    with OpenAI(base_url=BASE, api_key="sk-any", max_retries=0) as client:
        for part in (whole, streamed, texts, models, faults, many):
            part(client)
    retried()
    asyncio.run(at_once())


run()
print("\n".join(wrong) or "nothing wrong")

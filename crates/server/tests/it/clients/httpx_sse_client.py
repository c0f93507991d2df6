"""Reads a stream with httpx-sse and prints what it got as JSON: python httpx_sse_client.py URL

The package leaves reconnecting to its caller; this does it as its documentation shows.
"""
import json
import sys
import time

import httpx
from httpx_sse import connect_sse

url = sys.argv[1]
events, opened, last_id, wait = [], 0, "", 0.0
with httpx.Client(timeout=60) as client:
    while not (events and events[-1]["type"] in ("close", "error")):
        time.sleep(wait)
        headers = {"Last-Event-ID": last_id} if last_id else {}
        try:
            with connect_sse(client, "GET", url, headers=headers) as source:
                source.response.raise_for_status()
                opened += 1
                for event in source.iter_sse():
                    last_id = event.id
                    wait = (event.retry or wait * 1000) / 1000
                    events.append({"type": event.event, "id": event.id, "data": event.data})
        except (httpx.ReadError, httpx.RemoteProtocolError):
            pass
print(json.dumps({"events": events, "opened": opened, "how": events[-1]["type"]}))

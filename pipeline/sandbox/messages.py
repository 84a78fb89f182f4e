"""Input messages as the messages endpoint shows them."""

from collections.abc import Iterable, Mapping
from typing import Any

_PART = {"type": None, "text": None, "image_url": None, "input_audio": None, "file": None}


def stored_messages(completion_id: str, messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Turn the ``messages`` of a create request into rows of the messages endpoint."""
    return [_stored(f"{completion_id}-{index}", message) for index, message in enumerate(messages)]


def _stored(message_id: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """Give one message the recorded keys; text parts are also flattened into ``content``, images are not."""
    content = message.get("content")
    parts = [_part(part) for part in content] if isinstance(content, list) else None
    if parts is not None:
        content = "".join(f"{part['text']} " for part in parts if part["text"] is not None)
    known = {"id": message_id, "role": message.get("role"), "content": content, "content_parts": parts}
    rest = {key: value for key, value in message.items() if key not in known}
    return {**known, "name": None, **rest}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    """Show all five keys of a part, as recorded, the unused ones null."""
    shown = {**_PART, **part}
    if isinstance(shown["image_url"], dict):
        shown["image_url"] = {"detail": None, **shown["image_url"]}
    return shown

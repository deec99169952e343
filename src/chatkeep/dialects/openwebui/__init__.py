"""Open WebUI's API, `/openwebui/api/v1/…`, `/api/v1/…` and `/api/chats/…`: sign-in and chats as trees of messages."""

from chatkeep.dialects.openwebui.routes import build

__all__ = ["build"]

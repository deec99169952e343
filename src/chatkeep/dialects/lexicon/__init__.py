"""The API of Lexicon Labs, `/api/v1/chats`: chats of a tenant's users, a tenant's key, errors as `{error, message}`."""

from chatkeep.dialects.lexicon.routes import build

__all__ = ["build"]

"""People who signed in, and what they may do, in Open WebUI's shapes. Pure."""

from __future__ import annotations

from chatkeep.dialects.openwebui import wire
from chatkeep.domain.principal import Account, Principal

NOT_SERVED = {
    "workspace": "models knowledge prompts skills tools",
    "sharing": "models knowledge prompts skills tools notes",
    "access_grants": "allow_users",
    "chat": (
        "controls valves params file_upload web_upload delete_message continue_response regenerate_response "
        "rate_response edit share export stt tts call multiple_models temporary temporary_enforced"
    ),
    "features": "api_keys notes folders channels web_search image_generation code_interpreter",
    "settings": "interface",
}
"""The vendor's permissions, by section, for what chatkeep does not serve in this dialect."""


def session(account: Account, caller: Principal, token: str, expires_at_s: int) -> wire.SessionOut:
    """A signed-in person."""
    return {
        "id": account.id,
        "name": account.name,
        "role": "admin" if caller.is_administrator else "user",
        "email": account.email or "",
        "profile_image_url": account.profile_image_url,
        "token": token,
        "token_type": "Bearer",
        "expires_at": expires_at_s,
        "permissions": permissions(caller),
    }


def permissions(caller: Principal) -> dict[str, dict[str, bool]]:
    """What the caller may do of what is served; the vendor's other features are not there, so nobody may use them."""
    may_write = "chat:write" in caller.scopes
    granted = {section: dict.fromkeys(names.split(), False) for section, names in NOT_SERVED.items()}
    granted["chat"].update(system_prompt=may_write, delete=may_write)
    return granted

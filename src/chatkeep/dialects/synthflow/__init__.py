from chatkeep.dialects.native.routes import build

__all__ = ["build"]

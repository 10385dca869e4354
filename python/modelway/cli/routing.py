"""The router that a command works with: the configuration, completed by discovery where it does not name all models."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelway.config import Config
    from modelway.router import ModelRouter


def open_router(config: Config) -> tuple[Config, ModelRouter]:
    """The configuration in force and a router for it.

    The backends on this device are asked what they have only if ``config`` names no model or has a folder of them:
    aiohttp and asyncio stay unloaded otherwise.
    """
    from modelway.router import ModelRouter

    router = ModelRouter(config)
    if not router.settings.models or any(backend.folder for backend in config.backends):
        import asyncio

        from modelway.discovery import discover

        config = asyncio.run(discover(config))
        router.replace_config(config)
    if any(model.destination is not None for model in router.settings.models):
        from modelway.privacy.consent import ConsentStore

        router.set_consents(ConsentStore(router.settings.state_folder).for_core())
    return config, router

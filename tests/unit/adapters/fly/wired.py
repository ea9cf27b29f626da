"""A client whose wire is scripted: what it sends is seen, what Fly answers is said."""

from typing import Any

import httpx
import respx
from pydantic import SecretStr

from flykeep.adapters.fly.client import FlyClient
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.testing.clock import CountedIds, JumpingClock

FLAPS = "https://flaps.test"
PLATFORM = "https://platform.test"
TOKEN = "FlyV1 fm2_lJPEpermission,fm2_lJPFdischarge"
SECRETS = ("fm2_lJPEpermission", "fm2_lJPFdischarge")
REQUEST_ID = "01JQTESTREQUEST-fra"
APP = AppName("my-crocbot")
MACHINE = MachineId("3d8d9914b32183")
VOLUME = VolumeId("vol_4qpl0wnkmk2n3y7r")
SNAPSHOTS = f"{FLAPS}/v1/apps/{APP}/volumes/{VOLUME}/snapshots"
MACHINE_URL = f"{FLAPS}/v1/apps/{APP}/machines/{MACHINE}"


class Wired:
    """A client, its clock and the router in place of the network."""

    def __init__(self, *, token: str = TOKEN, org: str = "acme") -> None:
        self.clock = JumpingClock()
        self.started_at = self.clock.now()
        self.router = respx.MockRouter(assert_all_called=False)
        self.client = FlyClient(
            token=SecretStr(token),
            org=org,
            flaps_base_url=FLAPS,
            api_base_url=PLATFORM,
            clock=self.clock,
            ids=CountedIds(),
            transport=httpx.MockTransport(self.router.async_handler),
        )

    @property
    def waited_s(self) -> float:
        """How long the client slept on its clock."""
        return (self.clock.now() - self.started_at).total_seconds()

    def answers(self, method: str, url: str, *answers: httpx.Response | Exception) -> respx.Route:
        """Let a URL answer in this order; asking more often fails the test."""
        return self.router.request(method, url).mock(side_effect=list(answers))


def json_answer(document: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, json=document, headers={"fly-request-id": REQUEST_ID, **(headers or {})})


def text_answer(text: str, *, status: int, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, text=text, headers={"fly-request-id": REQUEST_ID, **(headers or {})})

"""The machine is what it is meant to be: a stock Debian kernel, with the kinds of link that a gateway has."""

import os
import platform
import re

import pytest
from pyroute2 import IPRoute


def test_the_kernel_is_debian_12s_own():
    assert re.fullmatch(r"6\.1\.0-\d+-cloud-amd64", platform.release())
    assert os.geteuid() == 0


@pytest.mark.parametrize(("kind", "more"), [("vrf", {"vrf_table": 10}), ("dummy", {}), ("wireguard", {}), ("bridge", {})])
def test_links_of_every_kind_can_be_made(own_network, kind, more):
    with IPRoute() as route:
        route.link("add", ifname="some0", kind=kind, **more)
        assert route.link_lookup(ifname="some0")

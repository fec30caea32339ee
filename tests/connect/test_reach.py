from __future__ import annotations

import ipaddress

import pytest

from millrace.connect.reach import ANYWHERE, NETWORK, WORLD, Kind, Walled, check_url, kind_of, resolved

KINDS: list[tuple[str, Kind]] = [
    ("8.8.8.8", "public"),
    ("2606:4700::1111", "public"),
    ("10.1.2.3", "private"),
    ("172.31.255.255", "private"),
    ("192.168.0.1", "private"),
    ("100.64.0.1", "private"),
    ("fd12:3456::1", "private"),
    ("127.0.0.1", "loopback"),
    ("127.255.0.1", "loopback"),
    ("::1", "loopback"),
    ("0.0.0.0", "loopback"),
    ("0.1.2.3", "loopback"),
    ("::", "loopback"),
    ("169.254.169.254", "metadata"),
    ("fe80::1", "metadata"),
    ("fd00:ec2::254", "metadata"),
    ("100.100.100.200", "metadata"),
    ("168.63.129.16", "metadata"),
    ("192.0.0.192", "metadata"),
    ("::ffff:169.254.169.254", "metadata"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:8.8.8.8", "public"),
    ("::127.0.0.1", "other"),
    ("64:ff9b::7f00:1", "other"),
    ("2002:7f00:1::", "other"),
    ("2001:0:7f00:1::", "other"),
    ("224.0.0.1", "other"),
    ("ff02::1", "other"),
    ("255.255.255.255", "other"),
    ("240.0.0.1", "other"),
    ("198.18.0.1", "other"),
    ("192.0.2.1", "other"),
    ("2001:db8::1", "other"),
]


@pytest.mark.parametrize(("address", "kind"), KINDS)
def test_every_address_is_of_one_kind(address: str, kind: Kind):
    assert kind_of(ipaddress.ip_address(address)) == kind


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0x7f.1", "2130706433", "017700000001", "0"])
def test_this_machine_is_known_however_it_is_written(host: str):
    with pytest.raises(Walled) as caught:
        resolved(host, 80, WORLD.web)
    assert caught.value.code == "private_address"
    assert "allow_private_addresses" in (caught.value.hint or "")
    assert resolved(host, 80, NETWORK.web)


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254", "168.63.129.16", "224.0.0.1"])
def test_metadata_of_clouds_are_reached_by_no_setting(host: str):
    for reach in (WORLD, NETWORK):
        for allowed in (reach.web, reach.stores):
            with pytest.raises(Walled) as caught:
                resolved(host, 80, allowed)
            assert "No setting" in (caught.value.hint or "")
    assert resolved(host, 80, ANYWHERE.web) == [host]


def test_databases_may_be_in_a_private_network_and_not_on_the_machine_of_the_server():
    assert resolved("10.0.0.7", 5432, WORLD.stores) == ["10.0.0.7"]
    with pytest.raises(Walled):
        resolved("10.0.0.7", 443, WORLD.web)
    with pytest.raises(Walled):
        resolved("127.0.0.1", 5432, WORLD.stores)


def test_only_the_operator_is_free_of_it():
    assert ANYWHERE.everywhere
    assert not NETWORK.everywhere
    assert not WORLD.everywhere


def test_a_url_of_http_is_looked_at_and_no_other():
    with pytest.raises(Walled):
        check_url("https://127.0.0.1:9000", WORLD.stores)
    for url in ("https://10.0.0.7:9000", "s3://127.0.0.1/x", "/folder", ""):
        check_url(url, WORLD.stores)

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.errors import CapacityError, SetupError
from gateway.session.account import AccountStore, PendingCall
from gateway.session.care import CARE_TOOLS, Account, Effect

PAY_40 = {"amount": 40}


async def opened(path: Path) -> AccountStore:
    store = AccountStore(path)
    await store.open()
    return store


async def held_by(store: AccountStore, *call: Any) -> PendingCall:
    held = await store.hold(*call)
    assert isinstance(held, PendingCall)
    return held


def test_a_call_repeated_with_its_id_is_applied_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await opened(tmp_path / "account.db")
        first = await store.run("t", "call-1", "pay_bill", PAY_40, repeat_s=60.0)
        again = await store.run("t", "call-1", "pay_bill", PAY_40, repeat_s=60.0)
        assert first == again == '{"paid_dollars":40,"open_dollars":24}'
        assert (await store.account("t")).open_dollars == 24
        assert (await store.account("other")).open_dollars == 64
        await store.close()

    asyncio.run(scenario())


def test_results_survive_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await opened(tmp_path / "account.db")
        held = await held_by(store, "t", "pay_bill", PAY_40)
        paid = await store.confirm("t", held)
        await store.close()
        store = await opened(tmp_path / "account.db")
        found = await store.pending("t", held.reference)
        assert found is not None
        assert found.result == paid
        assert await store.confirm("t", found) == paid
        assert await store.decline("t", found) == paid
        assert (await store.account("t")).open_dollars == 24
        await store.close()

    asyncio.run(scenario())


def test_what_is_a_day_old_is_forgotten_while_the_store_is_open(tmp_path: Path) -> None:
    file = tmp_path / "account.db"

    async def scenario() -> None:
        store = await opened(file)
        await held_by(store, "t", "pay_bill", PAY_40)
        await store.run("t", "old", "restart_device", {"device": "router"}, repeat_s=None)
        with closing(sqlite3.connect(file)) as db, db:
            for table in ("call", "held_call"):
                db.execute(f"UPDATE {table} SET at = at - 86401")
        await store.run("t", "new", "restart_device", {"device": "modem"}, repeat_s=None)
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("SELECT call_id FROM call").fetchall() == [("new",)]
            assert db.execute("SELECT * FROM held_call").fetchall() == []
        await store.close()

    asyncio.run(scenario())


def test_a_declined_call_can_no_longer_be_confirmed(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await opened(tmp_path / "account.db")
        held = await held_by(store, "t", "block_sim", {"reason": "lost"})
        declined = await store.decline("t", held)
        assert await store.confirm("t", held) == declined == '{"error":"declined_by_caller"}'
        assert (await store.account("t")).sim_blocked == ""
        await store.close()

    asyncio.run(scenario())


def test_a_reference_belongs_to_its_tenant(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await opened(tmp_path / "account.db")
        held = await held_by(store, "t", "pay_bill", PAY_40)
        assert await store.pending("other", held.reference) is None
        await store.close()

    asyncio.run(scenario())


def test_two_sites_on_one_file_apply_a_call_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        sites = [await opened(tmp_path / "account.db") for _ in range(2)]
        held = await held_by(sites[0], "t", "pay_bill", PAY_40)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(site.confirm("t", held)) for site in sites for _ in range(5)]
        assert {task.result() for task in tasks} == {'{"paid_dollars":40,"open_dollars":24}'}
        assert (await sites[1].account("t")).open_dollars == 24
        for site in sites:
            await site.close()

    asyncio.run(scenario())


def test_a_cancelled_caller_does_not_tear_a_transaction(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await opened(tmp_path / "account.db")
        async with asyncio.TaskGroup() as group:
            call = group.create_task(store.run("t", "call-1", "pay_bill", PAY_40, repeat_s=60.0))
            await asyncio.sleep(0)
            call.cancel()
        result = await store.run("t", "call-1", "pay_bill", PAY_40, repeat_s=60.0)
        assert result == '{"paid_dollars":40,"open_dollars":24}'
        assert (await store.account("t")).open_dollars == 24
        await store.close()

    asyncio.run(scenario())


async def refused_payment(store: AccountStore, tenant: str) -> None:
    with pytest.raises(CapacityError, match="in use by another writer"):
        await store.run(tenant, "c", "pay_bill", PAY_40, repeat_s=60.0)


def test_a_locked_file_holds_no_reader_and_fails_writers_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.session.account._LOCK_WAIT_S", 1.0)

    async def scenario() -> None:
        store = await opened(tmp_path / "account.db")
        held = await store.hold("t", "pay_bill", PAY_40)
        assert isinstance(held, PendingCall)
        other = sqlite3.connect(tmp_path / "account.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began_s = time.monotonic()
        async with asyncio.timeout(30.0), asyncio.TaskGroup() as group:
            writers = [group.create_task(refused_payment(store, f"t{n}")) for n in range(20)]
            await asyncio.sleep(0)
            assert (await store.account("t")).open_dollars == 64
            assert await store.pending("t", held.reference) == held
            assert not any(writer.done() for writer in writers)
        assert time.monotonic() - began_s < 20 * 1.0 / 2  # not one after the other
        other.execute("COMMIT")
        other.close()
        assert await store.confirm("t", held) == '{"paid_dollars":40,"open_dollars":24}'
        await store.close()

    asyncio.run(scenario())


def test_a_writer_waits_for_the_one_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await opened(tmp_path / "account.db")
        other = sqlite3.connect(tmp_path / "account.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.TaskGroup() as group:
            paying = group.create_task(store.run("t", "c", "pay_bill", PAY_40, repeat_s=60.0))
            await asyncio.sleep(0)
            await store.account("t")
            other.execute("COMMIT")
            other.close()
        assert paying.result() == '{"paid_dollars":40,"open_dollars":24}'
        await store.close()

    asyncio.run(scenario())


def test_a_transaction_that_fails_leaves_nothing_and_blocks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> str:
        raise RuntimeError("in the middle")

    async def scenario() -> None:
        store = await opened(tmp_path / "account.db")
        with monkeypatch.context() as patched:
            patched.setattr("gateway.session.account._keep_result", fails)
            with pytest.raises(RuntimeError, match="in the middle"):
                await store.run("t", "call-1", "pay_bill", PAY_40, repeat_s=60.0)
        assert (await store.account("t")).open_dollars == 64
        paid = await store.run("t", "call-1", "pay_bill", PAY_40, repeat_s=60.0)
        assert paid == '{"paid_dollars":40,"open_dollars":24}'
        await store.close()

    asyncio.run(scenario())


def test_an_unusable_file_is_a_set_up_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")

    async def scenario() -> None:
        store = AccountStore(tmp_path / "file" / "account.db")
        with pytest.raises(SetupError, match=r"account\.database"):
            await store.open()
        await store.close()

    asyncio.run(scenario())


def test_every_irreversible_tool_is_one_the_interface_names() -> None:
    irreversible = {name for name, t in CARE_TOOLS.items() if t.effect is Effect.IRREVERSIBLE}
    assert irreversible == {"pay_bill", "block_sim", "change_plan"}


@pytest.mark.parametrize(
    ("tool", "args", "result"),
    [
        ("pay_bill", {}, {"paid_dollars": 64, "open_dollars": 0}),
        ("pay_bill", {"amount": 65}, {"error": "amount_exceeds_balance", "open_dollars": 64}),
        ("change_plan", {"plan": "basic"}, {"error": "already_on_plan", "plan": "basic"}),
        ("cancel_technician", {}, {"error": "no_visit_booked"}),
        (
            "add_roaming",
            {"country": "france", "days": 7},
            {"country": "france", "days": 7, "price_dollars": 14},
        ),
        (
            "check_outage",
            {"service": "tv"},
            {"service": "tv", "outage": True, "fixed_by": "6 pm"},
        ),
        ("check_outage", {"service": "internet"}, {"service": "internet", "outage": False}),
    ],
)
def test_tools_on_the_demo_account(tool: str, args: dict[str, object], result: object) -> None:
    assert CARE_TOOLS[tool].apply(Account(), args)[1] == result


def test_a_visit_is_booked_once_and_cancelled() -> None:
    args = {"day": "monday", "window": "morning"}
    booked, first = CARE_TOOLS["book_technician"].apply(Account(), args)
    _, second = CARE_TOOLS["book_technician"].apply(booked, args)
    cancelled, third = CARE_TOOLS["cancel_technician"].apply(booked, {})
    assert first["reference"] == "T4821"
    assert second["error"] == "already_booked"
    assert third == {"cancelled": True, **args}
    assert cancelled == msgspec.structs.replace(booked, visit=None)


def test_a_new_plan_begins_with_the_next_bill() -> None:
    change, usage = CARE_TOOLS["change_plan"], CARE_TOOLS["get_data_usage"]
    moving, result = change.apply(Account(), {"plan": "unlimited"})
    assert result == {"plan": "unlimited", "starts": "next bill"}
    assert usage.apply(moving, {})[1] == {
        "used_gb": 12, "allowance_gb": 20, "next_plan": "unlimited",
    }  # fmt: skip
    assert change.apply(moving, {"plan": "unlimited"})[1]["error"] == "already_on_plan"
    assert change.apply(moving, {"plan": "basic"}) == (
        Account(),
        {"plan": "basic", "starts": "already"},
    )

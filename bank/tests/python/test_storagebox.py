"""The drop-in for `storagebox`: its calls, and the failures F1 to F15 of the original that a file can meet."""

import importlib
import logging
import threading

import pytest

from conftest import finish


@pytest.fixture
def storagebox(path, monkeypatch):
    import storagebox
    from storagebox import settings

    monkeypatch.setattr(settings, "FILE", path)
    return storagebox


@pytest.fixture
def repos(storagebox):
    items = storagebox.ItemBankDynamoDbRepository(table_name="voucher_codes")
    ids = storagebox.DeduplicationDynamoDbRepository(table_name="deduplication")
    return items, ids, storagebox.Deduplicator(item_repo=items, deduplication_repo=ids)


def test_the_example_of_its_readme(storagebox):
    item_repo = storagebox.ItemBankDynamoDbRepository(table_name="voucher_codes")
    deduplication_repo = storagebox.DeduplicationDynamoDbRepository(table_name="storage_box_deduplication_table")
    item_repo.batch_add_items(["a", "b"])
    deduplicator = storagebox.Deduplicator(item_repo=item_repo, deduplication_repo=deduplication_repo)
    deduplicator.add_items_to_bank(items=["c"])
    assert deduplicator.fetch_item_for_deduplication_id(deduplication_id="user") == "a"
    assert deduplicator.fetch_item_for_deduplication_id(deduplication_id="user") == "a"
    assert deduplication_repo.get_value_for_deduplication_id(deduplication_id="user") == "a"
    assert deduplication_repo.get_value_for_deduplication_id(deduplication_id="other") is None


def test_f1_f8_a_process_killed_between_the_steps_loses_nothing(path, repos, child):
    items, _, deduplicator = repos
    items.batch_add_items(["a"])
    code = """
        import os, sys
        import storagebox
        from storagebox import settings
        settings.FILE = sys.argv[1]
        items = storagebox.ItemBankDynamoDbRepository("voucher_codes")
        ids = storagebox.DeduplicationDynamoDbRepository("deduplication")
        claim = items.bank.claim

        def claim_and_die(id):
            claim(id)
            os._exit(0)

        items.bank.claim = claim_and_die
        storagebox.Deduplicator(items, ids).fetch_item_for_deduplication_id("alice")
    """
    finish(child(code, path))
    assert deduplicator.fetch_item_for_deduplication_id("bob") is None
    assert deduplicator.fetch_item_for_deduplication_id("alice") == "a"


def test_an_id_is_served_from_the_item_table_in_which_a_process_died_for_it(path, storagebox, repos, child):
    items, ids, _ = repos
    items.batch_add_items(["a"])
    other = storagebox.ItemBankDynamoDbRepository(table_name="other_codes")
    other.batch_add_items(["x"])
    code = """
        import os, sys
        import storagebox
        from storagebox import settings
        settings.FILE = sys.argv[1]
        items = storagebox.ItemBankDynamoDbRepository("voucher_codes")
        ids = storagebox.DeduplicationDynamoDbRepository("deduplication")
        claim = items.bank.claim
        items.bank.claim = lambda id: (claim(id), os._exit(0))
        storagebox.Deduplicator(items, ids).fetch_item_for_deduplication_id("alice")
    """
    finish(child(code, path))
    assert storagebox.Deduplicator(other, ids).fetch_item_for_deduplication_id("alice") == "a"


def test_f2_who_was_served_asks_again_after_all_are_gone(repos):
    items, _, deduplicator = repos
    items.batch_add_items(["a"])
    assert deduplicator.fetch_item_for_deduplication_id("alice") == "a"
    assert deduplicator.fetch_item_for_deduplication_id("bob") is None
    assert deduplicator.fetch_item_for_deduplication_id("alice") == "a"


def test_f3_f15_thirty_two_clients_drain_it_and_the_rest_get_none(repos):
    items, _, deduplicator = repos
    items.batch_add_items([f"code {n}" for n in range(20)])
    got = []
    threads = [
        threading.Thread(target=lambda n=n: got.append(deduplicator.fetch_item_for_deduplication_id(f"user {n}")))
        for n in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = [item for item in got if item is not None]
    assert len(got) == 32
    assert len(given) == len(set(given)) == 20


def test_f4_f5_f12_many_items_duplicates_and_none(repos):
    items, _, _ = repos
    items.batch_add_items([])
    items.batch_add_items(["a", "a", "b"])
    items.batch_add_items([str(n) for n in range(30_000)])
    assert items.bank.counts().free == 30_002


def test_f6_an_error_of_the_store_surfaces_and_the_item_stays(storagebox, repos):
    items, _, _ = repos
    items.batch_add_items(["a"])

    class Throttled(Exception):
        pass

    class Broken:
        def get_value_for_deduplication_id(self, deduplication_id):
            return None

        def put_deduplication_id(self, deduplication_id, item_string):
            raise Throttled

    with pytest.raises(Throttled):
        storagebox.Deduplicator(items, Broken()).fetch_item_for_deduplication_id("alice")
    assert items.get_item_from_bank() == "a"


def test_f7_a_put_that_was_applied_although_it_failed_is_no_second_item(storagebox, repos):
    items, _, _ = repos
    items.batch_add_items(["a"])

    class ReplyLost:
        known = None

        def get_value_for_deduplication_id(self, deduplication_id):
            return self.known

        def put_deduplication_id(self, deduplication_id, item_string):
            self.known = item_string
            raise OSError("the reply was lost")

    assert storagebox.Deduplicator(items, ReplyLost()).fetch_item_for_deduplication_id("alice") == "a"
    assert items.get_item_from_bank() is None


def test_f9_giving_back_twice_frees_nobody_elses(repos):
    items, _, _ = repos
    items.batch_add_items(["a"])
    assert items.get_item_from_bank() == "a"
    items.add_item_to_bank("a")
    assert items.bank.claim("carol").key == "a"
    items.add_item_to_bank("a")
    assert items.bank.claim("dave") is None


def test_f10_loading_again_frees_nothing(repos):
    items, _, deduplicator = repos
    items.batch_add_items(["a"])
    assert deduplicator.fetch_item_for_deduplication_id("alice") == "a"
    items.batch_add_items(["a"])
    assert deduplicator.fetch_item_for_deduplication_id("bob") is None


def test_f11_ids_that_are_numbers_work_and_others_are_refused(repos):
    items, _, deduplicator = repos
    items.batch_add_items(["a", "b"])
    assert deduplicator.fetch_item_for_deduplication_id(5) == "a"
    assert deduplicator.fetch_item_for_deduplication_id("5") == "a"
    for wrong in (None, 1.5, True, b"x"):
        with pytest.raises(TypeError, match="must be a str or an int"):
            deduplicator.fetch_item_for_deduplication_id(wrong)


def test_f13_a_repeat_beside_another_user_takes_nothing_out(repos):
    items, _, deduplicator = repos
    items.batch_add_items(["a", "b"])
    deduplicator.fetch_item_for_deduplication_id("alice")
    stop = threading.Event()

    def repeat():
        while not stop.is_set():
            assert deduplicator.fetch_item_for_deduplication_id("alice") == "a"

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        assert deduplicator.fetch_item_for_deduplication_id("bob") == "b"
    finally:
        stop.set()
        thread.join()


def test_one_id_from_many_threads_gets_one_item(repos):
    items, _, deduplicator = repos
    items.batch_add_items([f"code {n}" for n in range(20)])
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(deduplicator.fetch_item_for_deduplication_id("alice")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len(set(got)) == 1
    assert items.bank.counts().given == 1


def test_three_item_tables_share_one_deduplication_table(storagebox):
    ids = storagebox.DeduplicationDynamoDbRepository(table_name="classes")
    banks = [storagebox.ItemBankDynamoDbRepository(table_name=f"class_{n}") for n in range(3)]
    for n, bank in enumerate(banks[:2]):
        bank.batch_add_items([f"{n}-seat"])
    first, second, third = (storagebox.Deduplicator(item_repo=bank, deduplication_repo=ids) for bank in banks)
    assert third.fetch_item_for_deduplication_id("student") is None
    assert second.fetch_item_for_deduplication_id("student") == "1-seat"
    assert first.fetch_item_for_deduplication_id("student") == "1-seat"
    assert first.fetch_item_for_deduplication_id("other") == "0-seat"


def test_items_that_are_too_long_are_refused_as_by_the_original(repos):
    with pytest.raises(AssertionError, match="Item size cannot exceed 400 KB"):
        repos[0].batch_add_items(["ok", "x" * 400])
    assert repos[0].bank.counts().put == 0


def test_repositories_of_a_users_own(storagebox):
    from storagebox.repository.deduplication import DeduplicationRepository
    from storagebox.repository.item_bank import ItemBankRepository

    class ClientError(Exception):
        """As boto3's is called."""

    class Items(ItemBankRepository):
        def __init__(self):
            self.items = []

        def batch_add_items(self, items):
            self.items += items

        def add_item_to_bank(self, item_string):
            self.items.append(item_string)

        def get_item_from_bank(self):
            return self.items.pop(0) if self.items else None

    class Ids(DeduplicationRepository):
        def __init__(self):
            self.known = {}
            self.late = {}

        def get_value_for_deduplication_id(self, deduplication_id):
            return self.known.get(deduplication_id)

        def put_deduplication_id(self, deduplication_id, item_string):
            self.known.update(self.late)
            if deduplication_id in self.known:
                raise ClientError
            self.known[deduplication_id] = item_string

    items, ids = Items(), Ids()
    deduplicator = storagebox.Deduplicator(items, ids)
    deduplicator.add_items_to_bank(["a", "b", "c"])
    assert deduplicator.fetch_item_for_deduplication_id("alice") == "a"
    assert deduplicator.fetch_item_for_deduplication_id("alice") == "a"
    # Another call of the same id was faster: its item counts, ours goes back.
    ids.late = {"bob": "z"}
    assert deduplicator.fetch_item_for_deduplication_id("bob") == "z"
    assert items.items == ["c", "b"]
    with pytest.raises(TypeError):
        DeduplicationRepository()
    with pytest.raises(TypeError):
        ItemBankRepository()


def test_our_items_with_a_users_deduplication_are_settled(storagebox, repos):
    items, _, _ = repos
    items.batch_add_items(["a"])

    class Ids:
        known = None

        def get_value_for_deduplication_id(self, deduplication_id):
            return self.known

        def put_deduplication_id(self, deduplication_id, item_string):
            self.known = item_string

    assert storagebox.Deduplicator(items, Ids()).fetch_item_for_deduplication_id("x") == "a"
    assert items.bank.counts().given == 1


def test_settings_come_from_the_environment(monkeypatch):
    from storagebox import settings

    monkeypatch.setenv("STORAGE_BOX_CONCURRENT_FETCH_LIMIT", "7")
    monkeypatch.setenv("STORAGE_BOX_LOGGING_LEVEL", "DEBUG")
    monkeypatch.setenv("STORAGE_BOX_FILE", "/somewhere/x.opool")
    importlib.reload(settings)
    assert (settings.CONCURRENT_FETCH_LIMIT, settings.DEFAULT_LOGGING_LEVEL) == (7, logging.DEBUG)
    assert settings.FILE == "/somewhere/x.opool"
    monkeypatch.setenv("STORAGE_BOX_LOGGING_LEVEL", "LOUD")
    with pytest.raises(AssertionError, match="LOUD"):
        importlib.reload(settings)
    for name in ("STORAGE_BOX_CONCURRENT_FETCH_LIMIT", "STORAGE_BOX_LOGGING_LEVEL", "STORAGE_BOX_FILE"):
        monkeypatch.delenv(name)
    importlib.reload(settings)
    assert settings.MAX_ALLOWED_BATCH_SIZE == 25

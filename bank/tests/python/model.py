"""A model of a bank, its clients, its network and time: every interleaving of a small case is looked at.

One store carries out calls one at a time. A call is sent, may wait in the network while others are carried out, and its
answer may be lost; then it is sent again, and the first copy may still arrive later. Leases last `TTL` ticks.

`Rules` are what the review of the design varied: each of the wrong ones is a test that must fail.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

TTL = 2
FOREVER = 99
FINISHING = ("done", "release", "extend")


@dataclass(frozen=True)
class Rules:
    finish: str = "table"  # or "token", "token and leased"
    claim: str = "upgrade"  # or "as it is"
    counted: str = "remaining"  # or "retry", "first": from when a holder counts its lease
    token: str = "counter"  # or "row": one for each row, from 0
    keep: bool = True  # False: done deletes the row
    tombs: bool = True  # with keep=False: what is deleted is remembered for repeats
    shortens: bool = False  # extend may shorten
    old_release: str = "false"  # or "stale"
    remembers: bool = True  # False: a release is not remembered for repeats
    ticks: int = 5
    faults: int = 1


class Row(NamedTuple):
    state: str  # F, L, G
    id: str | None
    token: int
    until: int
    owner: int | None


class Client(NamedTuple):
    step: int
    tries: int
    held: tuple[int, int, int] | None  # row, token, believed until
    sent: int


class Message(NamedTuple):
    client: int
    step: int
    number: int
    sent: int
    token: tuple[int, int] | None


class World(NamedTuple):
    now: int
    rows: tuple[Row | None, ...]
    clients: tuple[Client, ...]
    net: tuple[Message, ...]
    counter: int
    applied: tuple[tuple[int, int], ...]
    tombs: tuple[tuple[int, int, str], ...]
    faults: int


def begin(scripts, rows, rules):
    free = tuple(Row("F", None, 0, 0, None) for _ in range(rows))
    return World(0, free, tuple(Client(0, 0, None, 0) for _ in scripts), (), 0, (), (), rules.faults)


def _put(sequence, place, value):
    return (*sequence[:place], value, *sequence[place + 1 :])


def carry_out(world, scripts, rules, message, complain):
    """One call in the store: the world without its message, and the answer."""
    client, step = message.client, message.step
    call, *arguments = scripts[client][step]
    rows, counter, applied, tombs = list(world.rows), world.counter, world.applied, world.tombs
    now = world.now

    def next_token(row):
        nonlocal counter
        counter += 1
        return counter if rules.token == "counter" else row.token + 1

    if call in ("lease", "claim"):
        id = arguments[0]
        mine = [place for place, row in enumerate(rows) if row and row.id == id]
        got = mine[0] if mine else None
        answer = None
        if mine:
            row = rows[got]
            if row.state == "L" and row.until <= now:
                rows[got] = row = Row("L", id, next_token(row), now + TTL, client)
            if rules.claim == "upgrade":
                if call == "claim" and row.state == "L":
                    rows[got] = Row("G", id, row.token, FOREVER, client)
                elif call == "lease" and row.state == "G":
                    answer = ("mismatch",)
        else:
            there = [
                (row.until, place) for place, row in enumerate(rows) if row and row.state in "FL" and row.until <= now
            ]
            if there:
                got = min(there)[1]
                state, until = ("L", now + TTL) if call == "lease" else ("G", FOREVER)
                rows[got] = Row(state, id, next_token(rows[got]), until, client)
        if answer is None:
            answer = ("none",) if got is None else ("got", got, rows[got].token, rows[got].until, call)
        if answer == ("none",) and any(row and row.state == "F" and row.until <= now for row in rows):
            complain("false none")
    elif call == "put":
        if rows[arguments[0]] is None:
            rows[arguments[0]] = Row("F", None, 0, now, None)
        answer = ("ok",)
    else:
        place, token = message.token
        row = rows[place]
        remembered = (place, token, call) in tombs
        if row is None or row.token != token or (row.state == "F" and remembered and call == "done"):
            if remembered:
                answer = ("true",)
            else:
                answer = ("false",) if call == "release" and rules.old_release == "false" else ("stale",)
        else:
            leased = row.state == "L"
            good = leased
            if rules.finish == "token":
                good = True
            elif rules.finish == "table":
                good = leased or (call, row.state) in (("done", "G"), ("release", "F"))
            answer = ("true",) if good else ("stale",)
            if good:
                if leased and row.owner != client:
                    complain("wrong finish")
                if row.state == "G" and call != "done":
                    complain("revived")
            if good and (leased or rules.finish == "token"):
                if call == "done":
                    rows[place] = Row("G", row.id, token, FOREVER, row.owner) if rules.keep else None
                    if rules.tombs and not rules.keep:
                        tombs = tuple(sorted({*tombs, (place, token, call)}))
                elif call == "release":
                    if rules.remembers:
                        tombs = tuple(sorted({*tombs, (place, token, call)}))
                    rows[place] = Row("F", None, token, now, None)
                else:
                    wanted = now + arguments[0]
                    until = wanted if rules.shortens else max(row.until, wanted)
                    rows[place] = Row("L", row.id, token, until, row.owner)
                applied = tuple(sorted({*applied, (client, step)}))
    net = tuple(other for other in world.net if other is not message)
    return World(now, tuple(rows), world.clients, net, counter, applied, tombs, world.faults), answer


def receive(world, scripts, rules, message, answer):
    """The client gets the answer; None if it is to a call that is over."""
    client = world.clients[message.client]
    if client.step != message.step or client.tries == 0 or message.number > client.tries:
        return None
    call, *arguments = scripts[message.client][message.step]
    held = client.held
    if answer[0] == "got":
        _, row, token, until, kind = answer
        if kind == "claim" or until >= FOREVER:
            belief = FOREVER
        elif rules.counted == "retry":
            belief = message.sent + TTL
        elif rules.counted == "first":
            belief = client.sent + TTL
        else:
            belief = min(message.sent + max(0, until - world.now), until)
        held = (row, token, belief)
    elif call in ("done", "release"):
        held = None
    elif call == "extend":
        held = (held[0], held[1], max(held[2], message.sent + arguments[0])) if answer == ("true",) and held else None
    after = Client(message.step + 1, 0, held, 0)
    return world._replace(clients=_put(world.clients, message.client, after))


def steps(world, scripts, rules, complain):
    """Everything that can happen next, as (what, world)."""
    if world.now < rules.ticks:
        yield ("tick",), world._replace(now=world.now + 1)
    for number, client in enumerate(world.clients):
        if client.step >= len(scripts[number]):
            continue
        call = scripts[number][client.step][0]
        finishing = call in FINISHING
        if client.tries == 0:
            if finishing and client.held is None:
                after = client._replace(step=client.step + 1)
                yield ("skip", number), world._replace(clients=_put(world.clients, number, after))
                continue
            # Who gives something back believes in it no more.
            held = (*client.held[:2], 0) if client.held and call in ("done", "release") else client.held
            after = Client(client.step, 1, held, world.now)
            token = client.held[:2] if finishing else None
            net = (*world.net, Message(number, client.step, 1, world.now, token))
            yield (
                ("send", number),
                world._replace(clients=_put(world.clients, number, after), net=tuple(sorted(net, key=repr))),
            )
        elif client.tries < 3:
            on_its_way = any(message.client == number and message.step == client.step for message in world.net)
            if on_its_way and world.faults == 0:
                continue
            token = client.held[:2] if finishing and client.held else None
            if finishing and token is None:
                continue
            again = Message(number, client.step, client.tries + 1, world.now, token)
            yield (
                ("send again", number),
                world._replace(
                    clients=_put(world.clients, number, client._replace(tries=client.tries + 1)),
                    net=tuple(sorted((*world.net, again), key=repr)),
                    faults=world.faults - on_its_way,
                ),
            )
    for message in world.net:
        after, answer = carry_out(world, scripts, rules, message, complain)
        told = receive(after, scripts, rules, message, answer)
        call = scripts[message.client][message.step]
        own = (message.client, message.step) in world.applied
        if answer == ("stale",) and call[0] != "extend" and own and told is not None:
            complain("false stale")
        what = ("carry out", message.client, call, message.token, answer)
        yield what, told or after
        if world.faults > 0 and told is not None and world.clients[message.client].tries < 3:
            yield (*what, "answer lost"), after._replace(faults=world.faults - 1)


def holders(world, scripts, complain):
    """Two claim ids that believe that they hold one item."""
    believe = {}
    for number, client in enumerate(world.clients):
        if client.held and client.held[2] > world.now:
            id = next(call[1] for call in scripts[number] if call[0] in ("lease", "claim"))
            believe.setdefault(client.held[0], set()).add((id, client.held[2] >= FOREVER))
    for those in believe.values():
        if len({id for id, _ in those}) > 1:
            complain("given twice" if any(good for _, good in those) else "held twice")


def check(scripts, rows, rules):
    """Looks at every world; returns how many there are, and what goes wrong in any of them."""
    start = begin(scripts, rows, rules)
    seen = {start}
    queue = deque([start])
    faults = set()
    while queue:
        world = queue.popleft()
        for _, after in steps(world, scripts, rules, faults.add):
            if after not in seen:
                seen.add(after)
                holders(after, scripts, faults.add)
                queue.append(after)
    return len(seen), faults


def walk(scripts, rows, rules, seed):
    """One way through the worlds, chosen at random: what happened, in order."""
    choose = random.Random(seed)
    world = begin(scripts, rows, rules)
    while True:
        found = list(steps(world, scripts, rules, lambda fault: None))
        if not found:
            return
        what, world = choose.choice(found)
        yield what

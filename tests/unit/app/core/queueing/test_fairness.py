"""Fair turns on RQ's list, and requests that wait for a place of their key."""

from __future__ import annotations

from uuid import uuid4

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from app.core.errors import GenerationFailed
from app.core.queueing.jobs import CPU, FETCH, FINISH, GPU, Jobs
from app.core.redis import keys
from app.core.requests.record import Stage
from app.core.requests.stage_results import FinishResult
from app.core.requests.store import Account, RequestStore
from tests.support.records import PARAMS, SOURCE, prepared

TTL_S = 600


class Rig:
    """Requests of several keys, without HTTP and without workers. A request's id begins with the
    name of its key."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.store = RequestStore(redis, TTL_S)
        self.jobs = Jobs(redis, TTL_S)

    def submit(
        self,
        key: str,
        number: int = 0,
        concurrency: int | None = None,
        stage: Stage = Stage.PREPARE,
    ) -> str:
        request_id = f"{key}{number}-{uuid4().hex}"
        account = Account(key, concurrency=concurrency)
        expiry = self.store.expiry()
        self.store.submit(request_id, key, PARAMS, SOURCE, expiry, account=account, stage=stage)
        self.jobs.enqueue(request_id, stage)
        return request_id

    def prepared(self, key: str, number: int, work: float) -> str:
        """A request that has come as far as the gpu queue."""
        request_id = f"{key}{number}-{uuid4().hex}"
        self.store.submit(
            request_id, key, PARAMS, SOURCE, self.store.expiry(), account=Account(key)
        )
        self.store.claim(request_id, Stage.PREPARE, "e")
        self.store.advance(request_id, Stage.PREPARE, "e", prepared(work=work))
        self.jobs.enqueue(request_id, Stage.GENERATE)
        return request_id

    def waiting(self, queue: str = CPU) -> list[str]:
        """The requests whose jobs wait, next first, without the random part of their ids."""
        return [job.partition("-")[0] for job in self.jobs.queue(queue).get_job_ids()]

    def take(self, queue: str = CPU) -> str:
        """The next job as a worker takes it."""
        taken = Queue.dequeue_any(
            [self.jobs.queue(queue)], None, self.redis, serializer=JSONSerializer
        )
        assert taken is not None
        return str(taken[0].id)


@pytest.fixture
def rig(redis: Redis) -> Rig:
    return Rig(redis)


def test_control_maps_alone_take_turns_too(rig: Rig) -> None:
    """They are worth no work, and still each of them has the device for a moment."""
    for number in range(3):
        rig.prepared("b", number, 10.0)
    served = []
    for number in range(20):
        rig.prepared("a", number, 0.0)
        rig.prepared("a", number + 100, 0.0)
        served.append(rig.take(GPU).partition("-")[0])
    assert {"b0", "b1"} <= set(served)


def test_finish_jobs_keep_their_order(rig: Rig) -> None:
    """Whatever their keys: they take no turns."""
    done = [rig.prepared(key, number, 1.0) for number in range(3) for key in "ab"]
    for request_id in done:
        rig.jobs.enqueue(request_id, Stage.FINISH)
    assert rig.waiting(FINISH) == ["a0", "b0", "a1", "b1", "a2", "b2"]


@pytest.mark.parametrize(("stage", "queue"), [(Stage.FETCH, FETCH), (Stage.PREPARE, CPU)])
def test_a_request_that_waited_for_room_enters_with_its_first_job(
    rig: Rig, stage: Stage, queue: str
) -> None:
    first, second = (rig.submit("a", n, concurrency=1, stage=stage) for n in range(2))
    assert rig.jobs.carried_stages() == {(first, stage), (second, stage)}
    assert rig.waiting(queue) == ["a0"]
    rig.store.fail(first, GenerationFailed())
    assert rig.waiting(queue) == ["a0", "a1"]
    assert rig.jobs.queue(queue).job_ids[1] == f"{second}-{stage.name.lower()}"


def test_the_list_is_rqs_own(rig: Rig) -> None:
    assert rig.jobs.queue(CPU).key == keys.CPU_QUEUE
    assert rig.jobs.queue(FETCH).key == keys.FETCH_QUEUE


def test_the_stored_job_equals_that_of_rq(rig: Rig, redis: Redis) -> None:
    request_id = rig.submit("a")
    ours = redis.hgetall(f"rq:job:{request_id}-prepare")
    assert redis.smembers("rq:queues") == {b"rq:queue:cpu"}
    queue = rig.jobs.queue(CPU)
    job = Job.fetch(f"{request_id}-prepare", connection=redis, serializer=JSONSerializer)
    redis.flushall()
    queue.enqueue_job(job, unique=True)
    theirs = redis.hgetall(f"rq:job:{request_id}-prepare")
    moving = {b"data", b"enqueued_at", b"created_at", b"last_heartbeat"}  # compressed, or a moment
    assert {k: v for k, v in ours.items() if k not in moving} == {
        k: v for k, v in theirs.items() if k not in moving
    }
    assert redis.smembers("rq:queues") == {b"rq:queue:cpu"}


def test_the_jobs_of_a_key_keep_their_order(rig: Rig) -> None:
    for number in range(5):
        rig.submit("a", number)
    assert rig.waiting() == ["a0", "a1", "a2", "a3", "a4"]


@pytest.mark.parametrize("running", [0, 1, 2])
def test_another_keys_first_request_is_behind_those_that_run(rig: Rig, running: int) -> None:
    """Second at the latest."""
    for number in range(200):
        rig.submit("a", number)
    for _ in range(running):
        rig.take()
    rig.submit("b")
    assert rig.waiting().index("b0") == (0 if running else 1)
    assert len(rig.waiting()) == 201 - running


def test_keys_with_requests_waiting_take_turns(rig: Rig) -> None:
    for number in range(4):
        rig.submit("a", number)
    for number in range(3):
        rig.submit("b", number)
    rig.submit("c")
    assert rig.waiting() == ["a0", "b0", "c0", "a1", "b1", "a2", "b2", "a3"]


def test_turns_go_on_while_jobs_are_taken_and_added(rig: Rig) -> None:
    for number in range(6):
        rig.submit("a", number)
    rig.submit("b", 0)
    for taken in ("a0", "b0", "a1"):
        assert rig.take().startswith(taken)
    for number in (1, 2):
        rig.submit("b", number)
    assert rig.waiting() == ["b1", "a2", "b2", "a3", "a4", "a5"]


def test_submitting_one_by_one_does_not_overtake_other_keys(rig: Rig) -> None:
    """A key whose last job was just taken has had its turn."""
    for number in range(3):
        rig.submit("a", number)
    rig.take()
    rig.submit("b", 0)
    assert rig.take().startswith("b0")
    rig.submit("b", 1)
    assert rig.waiting() == ["a1", "b1", "a2"]
    assert [rig.take()[:2] for _ in range(2)] == ["a1", "b1"]
    rig.submit("b", 2)
    assert rig.waiting() == ["a2", "b2"]


def test_on_the_gpu_turns_are_in_proportion_to_work(rig: Rig) -> None:
    for number in range(3):
        rig.prepared("big", number, work=100)
    for number in range(7):
        rig.prepared("small", number, work=40)
    order = rig.waiting(GPU)
    assert order[:2] == ["big0", "small0"]
    assert order.index("big1") == 4  # after 100 units of the other key, begun
    assert order.index("big2") == 7


def test_a_job_that_was_put_back_stays_first(rig: Rig, redis: Redis) -> None:
    for number in range(3):
        rig.submit("a", number)
    taken = rig.take()
    redis.lpush(keys.CPU_QUEUE, taken)  # as RQ does with the job of a dead worker
    rig.submit("b")
    rig.submit("c")
    assert rig.waiting()[0] == "a0"
    assert rig.waiting().index("b0") < rig.waiting().index("a2")
    assert rig.waiting().index("c0") < rig.waiting().index("a2")


def test_requests_that_were_cancelled_cost_their_key_no_turn(rig: Rig, redis: Redis) -> None:
    gone = [rig.submit("a", number) for number in range(50)]
    for number in range(3):
        rig.submit("b", number)
    for request_id in gone:
        rig.store.fail(request_id, GenerationFailed())
        redis.lrem(keys.CPU_QUEUE, 0, f"{request_id}-prepare")
    rig.submit("a", 99)
    assert rig.waiting() == ["b0", "a99", "b1", "b2"]


def test_without_what_it_remembers_the_queue_is_first_come_first_served(
    rig: Rig, redis: Redis
) -> None:
    for number in range(3):
        rig.submit("a", number)
    redis.delete(*redis.keys("turns:*"))
    rig.submit("b")
    assert rig.waiting() == ["a0", "a1", "a2", "b0"]


def test_the_state_of_the_fairness_queue_expires(rig: Rig, redis: Redis) -> None:
    rig.submit("a")
    assert all(0 < redis.ttl(key) <= TTL_S for key in redis.keys("turns:*"))


def test_requests_beyond_the_bound_of_a_key_wait_for_one_to_end(rig: Rig) -> None:
    made = [rig.submit("a", number, concurrency=2) for number in range(5)]
    assert rig.waiting() == ["a0", "a1"]
    assert rig.jobs.carried_stages() == {(request_id, Stage.PREPARE) for request_id in made}
    rig.submit("b")
    assert rig.waiting() == ["a0", "b0", "a1"]
    rig.store.fail(made[0], GenerationFailed())
    assert rig.waiting() == ["a0", "b0", "a1", "a2"]
    rig.store.claim(made[1], Stage.PREPARE, "e")
    rig.store.complete(made[1], "e", FinishResult())
    assert rig.waiting() == ["a0", "b0", "a1", "a2", "a3"]


def test_a_request_that_is_cancelled_while_it_waits_takes_no_place(rig: Rig) -> None:
    made = [rig.submit("a", number, concurrency=1) for number in range(4)]
    assert rig.store.fail(made[1], GenerationFailed(), only_queued=True)
    assert rig.waiting() == ["a0"]
    assert made[1] not in {request_id for request_id, _ in rig.jobs.carried_stages()}
    rig.store.fail(made[0], GenerationFailed())
    assert rig.waiting() == ["a0", "a2"]


def test_a_place_of_a_request_that_expired_is_free_again(rig: Rig, redis: Redis) -> None:
    made = [rig.submit("a", number, concurrency=1) for number in range(3)]
    redis.delete(keys.request(made[0]))
    assert rig.waiting() == ["a0"]
    rig.jobs.release_held()
    assert rig.waiting() == ["a0", "a1"]
    redis.delete(keys.request(made[1]), keys.request(made[2]))
    rig.jobs.release_held()
    assert rig.waiting() == ["a0", "a1"]
    assert redis.keys("held*") == []


def test_an_orphan_of_a_bounded_key_is_re_queued_in_its_own_place(rig: Rig, redis: Redis) -> None:
    made = [rig.submit("a", number, concurrency=1) for number in range(2)]
    redis.delete(keys.CPU_QUEUE)
    for _ in range(2):
        rig.jobs.requeue(made[0], Stage.PREPARE)
        assert rig.waiting() == ["a0"]
    assert rig.jobs.carried_stages() == {(request_id, Stage.PREPARE) for request_id in made}


def test_later_stages_never_wait_for_a_place(rig: Rig) -> None:
    made = [rig.submit("a", number, concurrency=1) for number in range(2)]
    rig.jobs.enqueue(made[0], Stage.GENERATE)
    assert rig.waiting(GPU) == ["a0"]


def test_a_key_that_comes_late_is_not_credited_with_the_time_before(rig: Rig) -> None:
    """It begins where the last job began that was taken, also after that has left the books."""
    for number in range(5):
        rig.submit("a", number)
    for _ in range(3):
        rig.take()
    for number in range(4):
        rig.submit("b", number)
    rig.submit("c")
    assert rig.waiting() == ["b0", "c0", "a3", "b1", "a4", "b2", "b3"]


@pytest.mark.parametrize("started", [False, True], ids=["QUEUED", "PROCESSING"])
def test_a_request_is_in_flight_until_it_has_ended(rig: Rig, started: bool) -> None:
    first = rig.submit("a", 0, concurrency=1)
    assert rig.waiting() == ["a0"]
    if started:
        rig.store.claim(first, Stage.GENERATE, "e")
    rig.submit("a", 1, concurrency=1)
    assert rig.waiting() == ["a0"]
    rig.store.fail(first, GenerationFailed())
    assert rig.waiting() == ["a0", "a1"]


def test_a_new_request_lets_those_go_first_that_have_waited_longer(rig: Rig, redis: Redis) -> None:
    """A record that expired freed a place, without a call of a script."""
    first = rig.submit("a", 0, concurrency=1)
    rig.submit("a", 1, concurrency=1)
    redis.delete(keys.request(first))
    rig.submit("a", 2, concurrency=1)
    assert rig.waiting() == ["a0", "a1"]
    assert redis.lrange("held:a", 0, -1)[0].startswith(b"a2")


def test_a_key_whose_bound_is_higher_lets_as_many_go_as_have_room(rig: Rig, redis: Redis) -> None:
    made = [rig.submit("a", number, concurrency=1) for number in range(4)]
    for request_id in made:
        redis.hset(keys.request(request_id), "concurrency", 3)
    rig.jobs.release_held()
    assert rig.waiting() == ["a0", "a1", "a2"]
    assert redis.smembers("held") == {b"a"}


def test_a_request_that_waited_beside_the_queue_takes_one_turn(rig: Rig, redis: Redis) -> None:
    made = [rig.submit("a", number, concurrency=1) for number in range(3)]
    for number in range(5):
        rig.submit("b", number)
    for request_id, waiting in (
        (made[0], ["b0", "b1", "a1", "b2", "b3", "b4"]),
        (made[1], ["b0", "b1", "b2", "a2", "b3", "b4"]),
    ):
        redis.lrem(keys.CPU_QUEUE, 1, f"{request_id}-prepare")
        rig.store.claim(request_id, Stage.PREPARE, "e")
        assert rig.store.complete(request_id, "e", FinishResult())
        assert rig.waiting() == waiting


@pytest.mark.parametrize("queue", [CPU, GPU])
def test_the_books_of_the_turns_do_not_grow(rig: Rig, redis: Redis, queue: str) -> None:
    for number in range(20):
        rig.submit("a", number) if queue == CPU else rig.prepared("a", number, 5.0)
        rig.take(queue)
        books = (f"turns:rq:queue:{queue}", f"turns:rq:queue:{queue}:of:a")
        assert max(redis.zcard(key) for key in books) <= 2


def test_everything_that_is_remembered_of_a_bounded_key_expires(rig: Rig, redis: Redis) -> None:
    made = [rig.submit("a", number, concurrency=2) for number in range(4)]
    for number in range(2):
        rig.take()
        rig.submit("b", number)
    rig.store.fail(made[0], GenerationFailed())
    remembered = [*redis.keys("turns:*"), *redis.keys("flight:*"), *redis.keys("held:*")]
    assert {key.split(b":")[0] for key in remembered} == {b"turns", b"flight", b"held"}
    assert [key for key in remembered if not TTL_S - 5 <= redis.ttl(key) <= TTL_S] == []


def test_a_bounded_key_is_forgotten_when_nothing_of_it_waits(rig: Rig, redis: Redis) -> None:
    made = [rig.submit("a", number, concurrency=1) for number in range(2)]
    assert redis.smembers("held") == {b"a"}
    for request_id in made:
        rig.store.fail(request_id, GenerationFailed())
    assert redis.keys("held*") == []
    rig.submit("a", 2, concurrency=1)
    assert [key for key in redis.smembers("flight:a") if not key.startswith(b"a2")] == []


@pytest.mark.parametrize(
    ("before", "order"), [(1023, ["a0", "b0", "a1"]), (1024, ["a0", "a1", "b0"])]
)
def test_a_job_is_looked_for_among_the_first_thousand_and_twenty_four(
    rig: Rig, redis: Redis, before: int, order: list[str]
) -> None:
    """Before it are jobs that were put back; one that is not found counts as taken."""
    for number in range(2):
        rig.submit("a", number)
    redis.lpush(keys.CPU_QUEUE, *[f"x-{number}" for number in range(before)])
    rig.submit("b")
    assert rig.waiting()[before:] == order


@pytest.mark.parametrize(
    ("work", "order"),
    [
        (0.5, ["a0", "b0", "a1", "a2", "b1", "a3"]),
        (1.0, ["a0", "b0", "a1", "b1", "a2", "a3"]),
        (0.0, ["a0", "b0", "a1", "b1", "a2", "a3"]),  # a control map alone: a turn of one unit
        (2.0, ["a0", "b0", "b1", "a1", "a2", "a3"]),
    ],
)
def test_less_work_is_served_more_often(rig: Rig, work: float, order: list[str]) -> None:
    for number in range(4):
        rig.prepared("a", number, work)
    for number in range(2):
        rig.prepared("b", number, 1.0)
    assert rig.waiting(GPU) == order


@pytest.mark.parametrize("ended", range(1, 4))
def test_a_held_request_that_ends_leaves_the_list_of_its_key(
    rig: Rig, redis: Redis, ended: int
) -> None:
    """Wherever it stands, so that no job of it counts as carried. The others keep their order."""
    requests = [rig.submit("a", number, concurrency=1) for number in range(4)]
    rig.store.fail(requests[ended], GenerationFailed())
    waiting = [request.encode() for request in requests[1:] if request != requests[ended]]
    assert redis.lrange(keys.held("a"), 0, -1) == waiting
    assert (requests[ended], Stage.PREPARE) not in rig.jobs.carried_stages()


def test_a_request_of_a_key_without_a_bound_touches_no_held_request(rig: Rig, redis: Redis) -> None:
    redis.rpush(keys.held("a"), "unknown")
    rig.store.fail(rig.submit("a"), GenerationFailed())
    assert redis.lrange(keys.held("a"), 0, -1) == [b"unknown"]

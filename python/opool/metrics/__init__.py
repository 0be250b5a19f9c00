"""The metrics of pools, for Prometheus and OpenTelemetry.

* `opool.metrics.prometheus`, with ``pip install 'opool[prometheus]'``: `PoolCollector`.
* `opool.metrics.otel`, with ``pip install 'opool[otel]'``: `instrument` and `HistogramExporter`.

A pool counts in any case (`Pool.stats` returns it), so metrics cost something only when they are read.

Names are those of OpenTelemetry's semantic conventions where there is one, `db.client.connection.*`, whatever the pool
leases; the others are `opool.*`. For Prometheus they are the same with ``_`` for the dots, as an OpenTelemetry exporter
would write them:

=================================================  ====================================================
`db.client.connection.count`                       objects, by `db.client.connection.state`: idle, used
`db.client.connection.idle.min`, `.idle.max`       `min_size`, `max_size` (any object may be idle)
`db.client.connection.max`                         `max_size`
`db.client.connection.pending_requests`            threads and tasks that wait
`db.client.connection.timeouts`                    waits that ended with a `PoolTimeout`
`db.client.connection.wait_time`, `.create_time`   as in `PoolStats`
`db.client.connection.use_time`                    of pools that time it: ``timing=True``
`opool.creating`, `opool.checking`                 as in `PoolStats`
`opool.created_objects`, `opool.create_failures`   as in `PoolStats`
`opool.retired_objects`                            by `opool.reason`
`opool.leases`, `opool.refused_requests`           as in `PoolStats`
=================================================  ====================================================

Each has the attribute `db.client.connection.pool.name`: the pool's name. Of pools with the same name that are open at
the same time, the later ones are shown as "name-2", "name-3" and so on. Pools without a name have to be given by hand,
and are shown as "unnamed", "unnamed-2". A pool is shown until it is deleted; one that is closed until then, with its
last values, or until a new pool takes over its name.
"""

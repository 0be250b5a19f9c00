"""The figures of pools, for Prometheus and for OpenTelemetry.

* `opool.metrics.prometheus`, with ``pip install 'opool[prometheus]'``: `PoolCollector`.
* `opool.metrics.otel`, with ``pip install 'opool[otel]'``: `instrument` and `HistogramExporter`.

A pool counts in any case (`Pool.stats` shows it), so metrics cost what it takes to read them, when they are read.

What OpenTelemetry's semantic conventions have a name for goes by that name, `db.client.connection.*`, whatever the pool
lends; the rest is `opool.*`. Prometheus gets the same names as from an OpenTelemetry exporter, with ``_`` for the dots:

=================================================  ====================================================
`db.client.connection.count`                       objects, by `db.client.connection.state`: idle, used
`db.client.connection.idle.min`, `.idle.max`       `min_size`, `max_size` (any object may be idle)
`db.client.connection.max`                         `max_size`
`db.client.connection.pending_requests`            who waits
`db.client.connection.timeouts`                    waits that ended with a `PoolTimeout`
`db.client.connection.wait_time`, `.create_time`   as in `PoolStats`
`db.client.connection.use_time`                    of pools that time it: ``timing=True``
`opool.creating`, `opool.checking`                 as in `PoolStats`
`opool.created_objects`, `opool.create_failures`   as in `PoolStats`
`opool.retired_objects`                            by `opool.reason`
`opool.leases`, `opool.refused_requests`           as in `PoolStats`
=================================================  ====================================================

Each has the attribute `db.client.connection.pool.name`: the pool's name; of pools with one name that live at the same
time, the later ones are called "name-2", "name-3" and so on. Pools without a name have to be given by hand, and are
called "unnamed", "unnamed-2". A pool that nobody uses any more is gone from the metrics; one that is closed stays until
then, with its last figures, or until a new one takes over its name.
"""

"""RQ jobs and queues, admission control, forecast, throughput, worker liveness, metrics."""

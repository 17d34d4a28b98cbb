"""The RDS instance that unit tests start from: available, as the defaults make it."""

from __future__ import annotations

from typing import Any

from kubestorm.clients.rds import ObservedInstance


def make_instance(**changes: Any) -> ObservedInstance:
    """An available instance of `default/orders`, with some fields changed; `tags` always given."""
    values: dict[str, Any] = {
        "identifier": "ks-test-default-orders",
        "status": "available",
        "engine": "postgres",
        "version": "16.3",
        "instance_class": "db.t3.small",
        "storage_gib": 20,
        "storage_type": "gp3",
        "iops": None,
        "max_storage_gib": None,
        "multi_az": False,
        "backup_retention_days": 7,
        "backup_window": "03:00-04:00",
        "maintenance_window": "sun:05:00-sun:06:00",
        "database_name": "orders",
        "username": "dbadmin",
        "deletion_protection": False,
        "subnet_group": None,
        "security_groups": (),
        "parameter_group": "default.postgres16",
        "encryption_key": None,
        "monitoring_interval_seconds": 0,
        "host": "orders.example.com",
        "port": 5432,
    }
    return ObservedInstance(**{**values, **changes})

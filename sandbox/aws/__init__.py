"""AWS on a loopback port: moto's server, with an RDS that takes its time and refuses what the real
one refuses.

Run alone with `python -m sandbox.aws --port 5000` and point any AWS client at it (`endpoint_url`,
`AWS_ENDPOINT_URL`). Every service that moto's installed extras cover answers; RDS instances and
snapshots of MySQL, MariaDB and PostgreSQL behave as `rds.py` and `rds_rules.py` say.

Left out: a database that could be connected to behind an RDS endpoint; Aurora clusters and engines
other than the three beyond what moto does (at once, hardly checked); maintenance windows that come
by themselves (`AwsServer.run_maintenance` is one); request signatures, unless IAM is enforced
(`AwsServer.enforce_iam`). moto keeps one state for the whole process, so one `AwsServer` runs in a
process at a time.
"""

from sandbox.aws.server import AwsServer

__all__ = ["AwsServer"]

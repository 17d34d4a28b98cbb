"""What every test may use."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.kube_fixtures"]

# Machines that run the tests are shared and noisy: how long an example takes says nothing about the
# code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

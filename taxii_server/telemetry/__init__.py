"""What operators see of a running server: metrics for Prometheus, traces for OpenTelemetry."""

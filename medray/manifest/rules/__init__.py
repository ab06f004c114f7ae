"""What no schema sees: rules of KubeRay's operator, and of Kubernetes for pods."""

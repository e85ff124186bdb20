package engine

// defaultHosts lists the pipes of engines that nobody configured.
func defaultHosts() []string {
	return []string{"npipe:////./pipe/docker_engine", "npipe:////./pipe/podman-machine-default"}
}

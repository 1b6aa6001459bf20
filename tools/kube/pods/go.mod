// What runs in the pods of the test cluster's own tests. Only the standard library.
module tideboard/tools/kube/pods

go 1.26.0

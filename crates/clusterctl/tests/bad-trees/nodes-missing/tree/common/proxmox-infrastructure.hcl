locals {
  site = "x"
}
